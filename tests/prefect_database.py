"""Prefect's database as its migrations make it, once for all servers of the tests.

A server that starts with none makes all of Prefect's migrations, which is most of its start.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from deployments.machine.home import Home

KEPT = Path(__file__).parent.parent / ".pytest_cache"
NAME = "prefect.db"  # in Prefect's home
SECONDS = 240


def have_database(home: Home) -> None:
    """Put it where the home's server looks for it."""
    home.prefect.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_migrated(), home.prefect / NAME)


def _migrated() -> Path:
    made = KEPT / f"prefect-{version('prefect')}.db"
    KEPT.mkdir(exist_ok=True)
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with TemporaryDirectory(dir=KEPT) as folder:
                argv = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
                kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
                environment = {**kept, "PREFECT_HOME": folder}
                subprocess.run(argv, env=environment, capture_output=True, timeout=SECONDS, check=True)
                (Path(folder) / NAME).rename(made)
    return made
