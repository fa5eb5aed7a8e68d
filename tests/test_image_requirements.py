"""What the images install is what uv.lock says: the files are exported, never edited by hand."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
LOCK: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text())["package"]


def pins(path: str) -> set[tuple[str, str]]:
    lines = (ROOT / path).read_text().splitlines()
    return {
        (match[1], match[2])
        for line in lines
        if "win32" not in line and (match := re.match(r"([a-z0-9.-]+)==([^ ;]+)", line.strip()))
    }


def locked(names: set[str]) -> set[tuple[str, str]]:
    """The named packages and all they need, those of other platforms left out."""
    found: set[tuple[str, str]] = set()
    while names:
        packages = [package for package in LOCK if package["name"] in names]
        found |= {(package["name"], package["version"]) for package in packages}
        needed = {
            dependency["name"]
            for package in packages
            for dependency in package.get("dependencies", [])
            if "win32" not in dependency.get("marker", "")
        }
        names = needed - {name for name, _ in found}
    return found


@pytest.mark.parametrize("group", ["serving", "agent"])
def test_requirements_are_the_locked_ones(group: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    direct = {re.split(r"[<>=\[ ]", line)[0] for line in project["dependency-groups"][group]}
    # What the lock lists only for another Python version or platform may be absent here, nothing else may.
    exported = pins(f"{group}/requirements.txt")
    assert {name for name, _ in exported} >= direct
    assert exported <= locked(direct)
    assert locked(direct) - exported == set()


def test_the_nodes_agent_carries_neither_prefect_nor_googles_clients() -> None:
    names = {name for name, _ in pins("agent/requirements.txt")}
    assert "docker" in names
    assert [name for name in names if name.startswith(("google-", "prefect"))] == []


def test_test_stage_uses_locked_versions() -> None:
    assert pins("tests/serving/requirements.txt") <= {
        (package["name"], package["version"]) for package in LOCK
    }
