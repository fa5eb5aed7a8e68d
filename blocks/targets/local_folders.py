"""What the local agent sees of this machine."""

from pathlib import Path

from releases.edge_traffic import COUNTS
from releases.log_segment import SEGMENTS
from releases.model_manifest import MODELS


def binds(home: Path, node: str) -> list[str]:
    """As `docker run --volume` has them. In the store it may write log segments and the edge's counts."""
    store = home / "store"
    return [
        f"{store / MODELS}:/store/{MODELS.rstrip('/')}:ro",
        f"{store / SEGMENTS}:/store/{SEGMENTS.rstrip('/')}:rw",
        f"{store / COUNTS}:/store/{COUNTS.rstrip('/')}:rw",
        f"{home / 'models'}:/models:rw",
        f"{home / 'node'}:/node:rw",
        f"{home / 'secrets'}:/secrets:ro",
        f"{node}-state:/state:rw",
        f"{node}-edge:/edge:rw",
        "/var/run/docker.sock:/var/run/docker.sock:rw",
    ]


def make(home: Path) -> None:
    """Before the agent starts: what is missing the engine would make, and it would be root's."""
    (home / "secrets").mkdir(mode=0o700, parents=True, exist_ok=True)
    store = home / "store"
    for folder in (store / MODELS, store / SEGMENTS, store / COUNTS, home / "models", home / "node"):
        folder.mkdir(parents=True, exist_ok=True)
