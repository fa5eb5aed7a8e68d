"""What commands share: Prefect's server, the environment's block, the service, the steps as they end.

Heavy imports stay inside: every command's `--help` imports this.
"""

import logging
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from releases.problem import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blocks.environment import Environment
    from deployments.machine.home import Home

# A failure is told once, by the command; Prefect's own telling, with its traceback, stays in the UI.
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


@contextmanager
def connected(*, quiet: bool, start: bool = True) -> "Iterator[Home]":
    """Point Prefect at the local server, if need be started or waited for. Before Prefect is imported."""
    from deployments.stack import ensure_server  # noqa: PLC0415

    home = point()
    ensure_server(home, start=start)
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings  # noqa: PLC0415

    if not quiet:
        show_steps()
    # Prefect ends a flow run up to a second late, to stop its heartbeat; here a person waits for the end.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield home


def point() -> "Home":
    """Have Prefect look for its server where this home's is; starts none. Before Prefect is imported."""
    from deployments.machine.home import Home  # noqa: PLC0415
    from deployments.stack import environment  # noqa: PLC0415

    home = Home()
    os.environ.update(environment(home))
    return home


def show_steps() -> None:
    """Print each step of a flow as it ends."""
    steps, lines = logging.getLogger("model_deploy.steps"), logging.StreamHandler(sys.stdout)
    lines.setFormatter(logging.Formatter("  %(message)s"))
    steps.addHandler(lines)
    steps.setLevel(logging.INFO)
    steps.propagate = False


def load(name: str) -> "Environment":
    """The environment's block."""
    from blocks.environment import load_environment  # noqa: PLC0415

    return load_environment(name)


def person() -> str:
    """Who types the command, by their login; empty for a user without a name, as in many containers."""
    import getpass  # noqa: PLC0415

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def service_here(given: str) -> str:
    """The service that was named, else the one that `release .` would release here. Raises BadInput."""
    from releases.spec_file import SPEC_FILE, name_of, read_spec  # noqa: PLC0415

    if given:
        return given
    here = Path.cwd()
    if not any((here / file).exists() for file in (SPEC_FILE, "Dockerfile")):
        raise BadInput(
            "which service?",
            where=str(here),
            expected=f"its name, or a folder with a {SPEC_FILE} or a Dockerfile",
        )
    return name_of(read_spec(here), here.name)
