"""Where this machine keeps what is its own."""

import os
from pathlib import Path


def home_path() -> Path:
    """`$MODEL_DEPLOY_HOME`, or ~/.model-deploy."""
    given = os.environ.get("MODEL_DEPLOY_HOME")
    return (Path(given) if given else Path.home() / ".model-deploy").absolute()
