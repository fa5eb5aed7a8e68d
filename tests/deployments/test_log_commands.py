"""`model-deploy logs --since`: what it says of a service nobody knows, and that it goes on with --follow."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

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


def test_history_comes_first_and_then_what_is_printed(
    environment: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Running:
        id = container("a")

        def logs(self, **given: Any) -> list[bytes]:
            old = [b"2099-11-24T10:00:00Z before\n"] if given.get("stdout", True) else []
            return [*old, b"2099-11-24T10:00:01Z after\n"] if given["follow"] else old

    monkeypatch.setattr(log_commands, "_containers", lambda *_: [(Running(), 3)])
    log_commands.print_stream(environment, "iris", "2h", "", follow=True)
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["before", "after"]
