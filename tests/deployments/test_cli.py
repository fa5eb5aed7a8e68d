"""The command line where no engine and no server is needed."""

import json
import subprocess
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from deployments import approval_commands, cli
from releases.problem import BadInput, Unreachable
from releases.status import NodeStatus, ServiceStatus

ROOT = Path(__file__).parent.parent.parent
MODEL_DEPLOY = str(Path(sys.executable).parent / "model-deploy")
HEAVY = ("prefect", "docker", "httpx", "google", "jsonschema")


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, deployments.cli; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_the_commands_and_the_exit_codes() -> None:
    done = subprocess.run([MODEL_DEPLOY, "--help"], capture_output=True, text=True, check=True)
    for word in ("release", "rollback", "status", "history", "logs", "apply", "doctor", "Exit codes"):
        assert word in done.stdout


def test_the_published_schema_is_the_one_the_code_has() -> None:
    done = subprocess.run([MODEL_DEPLOY, "schema"], capture_output=True, text=True, check=True)
    published = (ROOT / "docs" / "model-deploy.schema.json").read_text(encoding="utf-8")
    assert json.loads(published) == json.loads(done.stdout)


def test_status_of_a_service_that_does_not_run_names_those_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no service runs here yet; next: model-deploy release" in status(monkeypatch, "irsi")
    told = status(monkeypatch, "irsi", iris=ServiceStatus(live=1))
    assert told == "irsi does not run here; what does: iris\n"


def status(monkeypatch: pytest.MonkeyPatch, *words: str, **services: ServiceStatus) -> str:
    said = NodeStatus(node="n", at=datetime.now(UTC), services=services)
    target = SimpleNamespace(nodes=lambda: [said])
    monkeypatch.setattr(cli, "connected", lambda **_: nullcontext())
    monkeypatch.setattr(cli, "load", lambda _: SimpleNamespace(target=target))
    return CliRunner().invoke(cli.app, ["status", *words]).output


def test_a_release_that_finds_no_server_is_in_the_jobs_summary(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))

    def away(**_: bool) -> nullcontext[None]:
        raise Unreachable("Prefect's server does not answer")

    monkeypatch.setattr(cli, "connected", away)
    assert isinstance(CliRunner().invoke(cli.app, ["release"]).exception, Unreachable)
    assert "Prefect's server does not answer" in (tmp_path / "summary.md").read_text()


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_who_has_no_login_is_asked_for_a_name(monkeypatch: pytest.MonkeyPatch, decision: str) -> None:
    """As a container's user often has none."""

    def nobody(**_: bool) -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nobody)
    monkeypatch.setattr(approval_commands, "connected", nobody)  # before any server is started
    asked = CliRunner().invoke(cli.app, [decision, "amber-fox"]).exception
    assert isinstance(asked, BadInput)
    assert asked.next_step == f"model-deploy {decision} amber-fox --by NAME"


def test_status_says_that_log_lines_do_not_get_to_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    said = NodeStatus(node="n", at=datetime.now(UTC), logs_problem="log lines cannot be uploaded: no")
    target = SimpleNamespace(nodes=lambda: [said])
    monkeypatch.setattr(cli, "connected", lambda **_: nullcontext())
    monkeypatch.setattr(cli, "load", lambda _: SimpleNamespace(target=target))
    shown = CliRunner().invoke(cli.app, ["status"]).output
    assert "the node keeps log lines to itself: log lines cannot be uploaded: no" in shown
