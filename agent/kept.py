"""What each service has used on this node, newest first: kept for going back, removed when it is too much."""

import threading
from collections.abc import Callable

from agent.memory import Disk

KEEP = 5  # per service and environment; what is live, confirmed or on trial is kept besides


class Kept:
    """Images, or models."""

    def __init__(
        self, disk: Disk, name: str, needed: Callable[[], set[str]], remove: Callable[[str], bool]
    ) -> None:
        self.disk = disk
        self.name = name
        self.needed = needed
        self.remove = remove
        self.lock = threading.Lock()

    def used(self, service: str, thing: str) -> None:
        """Remember it as the service's newest."""
        with self.lock:
            known = self.disk.kept(self.name)
            newest = [thing, *(one for one in known.get(service, []) if one != thing)]
            if known.get(service) != newest:
                self.disk.save_kept(self.name, {**known, service: newest})

    def prune(self, service: str) -> None:
        """Remove all but the service's newest, and what others have among theirs."""
        with self.lock:
            known = self.disk.kept(self.name)
            retired = known.get(service, [])[KEEP:]
            if retired:
                others = {thing for name in known.keys() - {service} for thing in known[name][:KEEP]}
                kept = [thing for thing in retired if thing in others or not self._remove(thing)]
                self.disk.save_kept(self.name, {**known, service: known[service][:KEEP] + kept})

    def free(self) -> int:
        """Remove everything that is neither live, confirmed nor on trial; how many went."""
        with self.lock:
            known = self.disk.kept(self.name)
            gone = {thing for things in known.values() for thing in things if self._remove(thing)}
            rest = {name: [one for one in things if one not in gone] for name, things in known.items()}
            if gone:
                self.disk.save_kept(self.name, rest)
            return len(gone)

    def _remove(self, thing: str) -> bool:
        return thing not in self.needed() and self.remove(thing)
