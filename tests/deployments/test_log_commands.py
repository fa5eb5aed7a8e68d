"""`model-deploy logs --since`: what it says of a service nobody knows, and that it goes on with --follow."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blocks import log_follow
from blocks.store import DirectoryStore
from deployments import log_commands
from releases.ledger import Ledger
from releases.problem import BadInput
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
        if given["since"] > datetime(2099, 11, 24, 10, tzinfo=UTC).timestamp():
            old = []
        return [*old, *self.after] if given["follow"] else old


def followed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environment: Any, looks: list[Any]
) -> list[str]:
    """The last words of the lines, where the engine shows one after the other."""
    monkeypatch.setattr(log_follow, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(log_follow, "GONE_SECONDS", 0.05)
    seen = iter(looks)
    last = [looks[-1]]
    monkeypatch.setattr(log_commands, "_containers", lambda *_: next(seen, last[0]))
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
