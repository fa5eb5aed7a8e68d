"""Images on the node: kept for going back, removed when there are too many or no room is left."""

import threading
from collections.abc import Callable

from agent.engine import Engine
from agent.failure import StepFailed
from agent.memory import Disk

KEEP = 5  # per service and environment; what is live, confirmed or on trial is kept besides
NO_ROOM = "no space left on device"


class Images:
    """Pulls, remembers what was pulled, newest first, and removes what nobody needs."""

    def __init__(self, engine: Engine, disk: Disk, needed: Callable[[], set[str]]) -> None:
        self.engine = engine
        self.disk = disk
        self.needed = needed
        self.lock = threading.Lock()

    def pull(self, service: str, image: str) -> None:
        """Have the image here; with the disk full, retired ones go first. Raises StepFailed."""
        try:
            self.engine.pull(image)
        except StepFailed as failed:
            if NO_ROOM not in failed.failure.reason or not self.free():
                raise
            self.engine.pull(image)
        self.used(service, image)

    def used(self, service: str, image: str) -> None:
        """Remember the image as the service's newest."""
        with self.lock:
            known = self.disk.images()
            newest = [image, *(one for one in known.get(service, []) if one != image)]
            if known.get(service) != newest:
                self.disk.save_images({**known, service: newest})

    def prune(self, service: str) -> None:
        """Remove all but the service's newest."""
        with self.lock:
            known = self.disk.images()
            retired = known.get(service, [])[KEEP:]
            if retired:
                kept = [image for image in retired if not self._remove(image)]
                self.disk.save_images({**known, service: known[service][:KEEP] + kept})

    def free(self) -> int:
        """Remove every image that is neither live, confirmed nor on trial; how many went."""
        with self.lock:
            known = self.disk.images()
            gone = {image for images in known.values() for image in images if self._remove(image)}
            rest = {name: [one for one in images if one not in gone] for name, images in known.items()}
            if gone:
                self.disk.save_images(rest)
            return len(gone)

    def _remove(self, image: str) -> bool:
        return image not in self.needed() and self.engine.remove_image(image)
