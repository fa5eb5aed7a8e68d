"""Images on the node: pulled, kept for going back, removed when there are too many or no room is left."""

from collections.abc import Callable

from agent.engine import NO_ROOM, Engine
from agent.failure import StepFailed
from agent.kept import Kept


class Images:
    """Pulls; `make_room` removes what nobody needs, and says how much went."""

    def __init__(self, engine: Engine, kept: Kept, make_room: Callable[[], int]) -> None:
        self.engine = engine
        self.kept = kept
        self.make_room = make_room

    def pull(self, service: str, image: str, interrupted: Callable[[], bool]) -> None:
        """Have the image here; a full disk lets go of what is retired. Raises StepFailed, Interrupted."""
        self.with_room(lambda: self.engine.pull(image, interrupted))
        self.kept.used(service, image)

    def with_room(self, work: Callable[[], None]) -> None:
        """Do it; with the disk full, once more when what is retired, or else the ballast, is gone."""
        try:
            work()
        except StepFailed as failed:
            if NO_ROOM not in failed.failure.reason:
                raise
            if not self.make_room() and not self.kept.disk.room.give_up():
                raise
            work()
