"""The container engine is installed with its client, wherever the distribution has it."""

from pathlib import Path

import pytest

from deployments.machine import engine


@pytest.mark.parametrize(("known", "installed"), [(0, True), (100, False)])
def test_a_client_that_comes_apart_is_installed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: int, installed: bool
) -> None:
    said = tmp_path / "said"
    for name, code in {"apt-get": 0, "apt-cache": known}.items():
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {said}\nexit {code}\n')
        (tmp_path / name).chmod(0o755)
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(engine, "may_install", lambda: True)
    monkeypatch.setattr(engine, "_start_daemon", lambda: None)
    monkeypatch.setattr(engine, "find_docker", finds_one_after(said))
    assert engine.ensure_engine() == "docker"
    update, asked, install = said.read_text().splitlines()
    assert (update, asked) == ("apt-get update -qq", "apt-cache show docker-cli")
    assert "docker.io" in install
    assert ("docker-cli" in install) is installed


def finds_one_after(installed: Path):
    def find() -> str:
        if not installed.exists():
            raise engine.Unreachable("no container engine answers")
        return "docker"

    return find
