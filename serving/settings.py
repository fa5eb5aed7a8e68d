"""Who this container is: set by the deploy, with what the image knows as default."""

import os
from dataclasses import dataclass, field
from pathlib import Path

BAKED_MODEL = Path(__file__).parent / "model"


def _from_env(name: str, default: str) -> str:
    # Set but empty is what an unfilled variable in a compose file looks like.
    return field(default_factory=lambda: os.environ.get(name) or default)


@dataclass(frozen=True)
class Settings:
    """Read once, at start."""

    model_name: str = _from_env("MODEL_NAME", "iris")
    model_version: str = _from_env("MODEL_VERSION", "v1")
    model_sha256: str = _from_env("MODEL_SHA256", "none")
    model_dir: Path = field(default_factory=lambda: Path(os.environ.get("MODEL_DIR") or BAKED_MODEL))
    revision: str = _from_env("REVISION", "unknown")
    release: str = _from_env("RELEASE", "none")
    environment: str = _from_env("ENVIRONMENT", "none")
