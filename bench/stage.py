"""A local environment of one's own for a bench: home, Prefect server, registry, node; gone afterwards."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from deployments.machine.home import Home
from deployments.stack import environment

COMMAND = Path(sys.executable).parent / "model-deploy"
NOTHING = """
from prefect import flow
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
@flow
def nothing(source: str): pass
with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):  # as `model-deploy` runs its flows
    nothing(".")
"""


@dataclass(frozen=True)
class Stage:
    """Where the bench plays."""

    folder: Path
    home: Home
    environment: dict[str, str]

    def model_deploy(self, *arguments: str) -> tuple[float, str]:
        """Seconds and output of a command; ends the bench when it fails."""
        return timed([str(COMMAND), *arguments], self.environment)

    def prefect_seconds(self) -> float:
        """Prefect's own fixed cost: import it, connect, run a flow with a parameter that does nothing."""
        return timed([sys.executable, "-c", NOTHING], {**self.environment, **environment(self.home)})[0]


@contextmanager
def stage() -> Iterator[Stage]:
    with TemporaryDirectory(prefix="model-deploy-bench-") as name:
        folder = Path(name)
        own = {
            "MODEL_DEPLOY_HOME": str(folder / "home"),
            "MODEL_DEPLOY_NODE": f"md-test-{secrets.token_hex(3)}",
        }
        os.environ.update(own)  # flows that the bench calls itself want them too
        made = Stage(folder, Home(folder / "home"), dict(os.environ))
        try:
            made.model_deploy("up", "--no-worker")
            yield made
        finally:
            argv = [str(COMMAND), "down", "--data", "--keep-images"]
            subprocess.run(argv, env=made.environment, capture_output=True, check=False)


def timed(argv: list[str], environment: dict[str, str], cwd: Path | None = None) -> tuple[float, str]:
    started = time.monotonic()
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode:
        sys.exit(f"`{' '.join(argv[:3])}` failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.monotonic() - started, done.stdout
