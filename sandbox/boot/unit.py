"""A systemd unit: the part of it that our VMs use. Of the rest it says so."""

import re
import shlex
from dataclasses import dataclass

from sandbox.boot.user_data import NotUnderstood

KNOWN = {
    *("Environment", "EnvironmentFile", "StateDirectory", "ExecStart", "Restart", "RestartSec"),
    *("Type", "RemainAfterExit", "TimeoutStopSec", "StandardOutput", "StandardError"),
}
UNITS = {"ms": 0.001, "s": 1.0, "": 1.0}


@dataclass(frozen=True)
class Unit:
    """A service. `environment_files`: path → whether it may be missing."""

    name: str
    environment: dict[str, str]
    environment_files: dict[str, bool]
    state_directory: str
    commands: list[list[str]]
    restarts: bool
    pause: float


def read(name: str, text: str, specifiers: dict[str, str]) -> Unit:
    """Read a service's unit; `specifiers` are what `%H` and the like stand for. Raises NotUnderstood."""
    given: dict[str, list[str]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip()
        elif section == "[Service]" and line and not line.startswith("#"):
            key, _, value = line.partition("=")
            given.setdefault(key, []).append(expanded(value, specifiers))
    if unknown := set(given) - KNOWN:
        raise NotUnderstood(f"the sandbox does not implement {min(unknown)} of {name}")
    environment = [word for line in given.get("Environment", []) for word in shlex.split(line)]
    return Unit(
        name=name,
        environment=dict(_pair(word) for word in environment),
        environment_files={one.lstrip("-"): one[0] == "-" for one in given.get("EnvironmentFile", [])},
        state_directory=given.get("StateDirectory", [""])[-1],
        commands=[shlex.split(line) for line in given["ExecStart"]],
        restarts=given.get("Restart", [""])[-1] == "always",
        pause=seconds(given.get("RestartSec", ["100ms"])[-1]),
    )


def variables(text: str) -> dict[str, str]:
    """What an environment file says."""
    lines = (line.strip() for line in text.splitlines())
    return dict(_pair(line) for line in lines if line and not line.startswith("#"))


def expanded(text: str, specifiers: dict[str, str]) -> str:
    """With the machine's own values for `%H` and the like. Raises NotUnderstood."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in specifiers:
            raise NotUnderstood(f"the sandbox does not implement systemd's %{match[1]}")
        return specifiers[match[1]]

    return re.sub("%(.)", value, text)


def seconds(text: str) -> float:
    """A span of time such as 500ms. Raises NotUnderstood."""
    match = re.fullmatch(r"(\d+)(ms|s|)", text)
    if not match:
        raise NotUnderstood(f"the sandbox does not implement the time span {text!r}")
    return int(match[1]) * UNITS[match[2]]


def _pair(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value
