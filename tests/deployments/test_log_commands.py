"""`model-deploy logs`, with --since and without: what it says of a service nobody knows, and what --follow shows."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import NotFound

from blocks import log_follow
from blocks.store import DirectoryStore
from deployments import log_commands
from releases.ledger import Ledger
from releases.problem import BadInput, Unreachable
from tests.agent.logs import container


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(log_commands, "_containers", lambda *_: [])
    store = DirectoryStore(path=tmp_path)
    return SimpleNamespace(
        name="local",
        store=store,
        target=SimpleNamespace(type="local", node="n"),
        ledger=lambda service: Ledger(store, service, "local"),
    )


def test_a_service_nobody_knows_is_said(environment: Any) -> None:
    with pytest.raises(BadInput, match="nothing is known of irsi in local"):
        log_commands.print_stream(environment, "irsi", "2h", "")


class Running:
    """A container as docker-py shows it, which prints what it is given after the word "before"."""

    def __init__(self, letter: str, *after: str) -> None:
        self.id = container(letter)
        self.attrs = {"State": {"StartedAt": "2099-11-24T09:59:59Z"}}
        self.after = [f"2099-11-24T10:00:01Z {word}\n".encode() for word in after]

    def logs(self, **given: Any) -> list[bytes]:
        old = [b"2099-11-24T10:00:00Z before\n"] if given.get("stdout", True) else []
        if "tail" in given:
            return old[-given["tail"] :]
        if given["since"] > datetime(2099, 11, 24, 10, tzinfo=UTC).timestamp():
            old = []
        return [*old, *self.after] if given["follow"] else old


def shows(monkeypatch: pytest.MonkeyPatch, looks: list[Any]) -> None:
    """The engine does, one after the other, then always the last."""
    monkeypatch.setattr(log_follow, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(log_follow, "GONE_SECONDS", 0.05)
    seen = iter(looks)
    last = [looks[-1]]
    monkeypatch.setattr(log_commands, "_containers", lambda *_: next(seen, last[0]))


def followed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environment: Any, looks: list[Any]
) -> list[str]:
    """The last words of the lines."""
    shows(monkeypatch, looks)
    log_commands.print_stream(environment, "iris", "2h", "", follow=True)
    return [line.split()[-1] for line in capsys.readouterr().out.splitlines()]


def test_history_comes_first_and_then_what_is_printed(
    environment: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = [[(Running("a", "after"), 3)]] * 2
    assert followed(monkeypatch, capsys, environment, looks) == ["before", "after"]


def test_a_container_that_is_started_again_goes_on_where_it_was(
    environment: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    again = Running("a", "after", "again")
    again.attrs = {"State": {"StartedAt": "2099-11-24T10:00:02Z"}}
    looks = [[(Running("a", "after"), 3)]] * 3 + [[(again, 3)]]
    assert followed(monkeypatch, capsys, environment, looks) == ["before", "after", "again"]


def test_without_since_only_the_newest_container_is_shown(
    environment: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shows(monkeypatch, [[(Running("b", "after"), 4), (Running("a", "after"), 3)]])
    log_commands.print_newest(environment, "iris")
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"2099-11-24T10:00:00.000Z release 4 {'b' * 12} before"


def test_without_since_what_comes_follows_also_of_the_next_release(
    environment: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = (Running("a", "after"), 3), (Running("b", "after"), 4)
    shows(monkeypatch, [[old], [old], [new, old]])
    log_commands.print_newest(environment, "iris", follow=True)
    told = capsys.readouterr()
    lines = [line.split()[-3::2] for line in told.out.splitlines()]
    assert lines == [["3", "before"], ["3", "after"], ["4", "before"], ["4", "after"]]
    assert told.err == "(no container of iris runs any more)\n"


def test_without_a_container_the_history_is_the_next_step(environment: Any) -> None:
    with pytest.raises(BadInput, match="no container of iris is on this node") as caught:
        log_commands.print_newest(environment, "iris")
    assert caught.value.next_step == "model-deploy history iris"


def test_where_containers_are_elsewhere_stored_lines_are_the_next_step(environment: Any) -> None:
    environment.target.type = "compute-engine"
    with pytest.raises(BadInput, match="the containers of local are not on this machine") as caught:
        log_commands.print_newest(environment, "iris")
    assert caught.value.next_step == "model-deploy logs iris --environment local --since 1h"


@pytest.mark.parametrize(
    "show",
    [
        log_commands.print_newest,
        lambda environment, service: log_commands.print_stream(environment, service, "2h", ""),
    ],
)
def test_a_container_that_is_removed_just_then_is_no_traceback(
    environment: Any, monkeypatch: pytest.MonkeyPatch, show: Callable[..., None]
) -> None:
    gone = Running("a")

    def logs(**_: Any) -> list[bytes]:
        raise NotFound("No such container")

    monkeypatch.setattr(gone, "logs", logs)
    shows(monkeypatch, [[(gone, 3)]])
    with pytest.raises(Unreachable, match="the log of container aaaaaaaaaaaa cannot be read"):
        show(environment, "iris")
