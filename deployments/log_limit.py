"""Whether the engine limits the logs of containers that ask for no limit themselves."""

import json
from pathlib import Path

from blocks.command import run
from blocks.docker_client import DockerClient

DAEMON = Path("/etc/docker/daemon.json")
ROTATING = {"local"}  # drivers with a limit of their own
SECONDS = 15
ADVICE = f'next: {{"log-opts": {{"max-size": "10m", "max-file": "5"}}}} in {DAEMON}'


def log_limit(docker: DockerClient, daemon: Path = DAEMON) -> str:
    """For people. Containers that model-deploy starts have the limit of their spec in any case."""
    driver = run([docker.path, "info", "--format", "{{.LoggingDriver}}"], timeout=SECONDS).output.strip()
    try:
        settings = daemon.read_text(encoding="utf-8")
    except OSError:
        settings = ""
    return judge(driver, settings)


def judge(driver: str, settings: str) -> str:
    """From the driver's name and the text of daemon.json."""
    if driver in ROTATING:
        return f"the driver {driver} rotates by itself"
    if driver != "json-file":
        return f"the driver is {driver}: `model-deploy logs` and the export need json-file"
    try:
        options = json.loads(settings or "{}").get("log-opts") or {}
    except json.JSONDecodeError:
        return f"{DAEMON} cannot be read: WARNING, other containers' logs may fill the disk"
    if "max-size" in options:
        return f"{options['max-size']} x {options.get('max-file', 1)}"
    return f"WARNING: none by default, other containers' logs may fill the disk; {ADVICE}"
