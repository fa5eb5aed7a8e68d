"""Images on the node: pulled, kept for going back, removed when there are too many or no room is left."""

from collections.abc import Callable

from agent.engine import Engine
from agent.failure import StepFailed
from agent.kept import Kept

NO_ROOM = "no space left on device"


class Images:
    """Pulls; `make_room` removes what nobody needs, and says how much went."""

    def __init__(self, engine: Engine, kept: Kept, make_room: Callable[[], int]) -> None:
        self.engine = engine
        self.kept = kept
        self.make_room = make_room

    def pull(self, service: str, image: str) -> None:
        """Have the image here; with the disk full, what is retired goes first. Raises StepFailed."""
        try:
            self.engine.pull(image)
        except StepFailed as failed:
            if NO_ROOM not in failed.failure.reason or not self.make_room():
                raise
            self.engine.pull(image)
        self.kept.used(service, image)
