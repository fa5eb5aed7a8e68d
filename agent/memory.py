"""What the agent keeps on disk: what Docker cannot tell it."""

import json
import os
import threading
import time
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from agent.room import Room, is_full, write_with_room
from releases.swap_memory import Clock, Memory
from releases.wrong_value import briefly

_MEMORY = TypeAdapter(Memory)
_KEPT = TypeAdapter(dict[str, list[str]])
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
FIRST_ADDRESS = 10


class BootClock:
    """Seconds since this boot, and which boot it is; both outlive a restart of the agent."""

    def __init__(self, boot: str = "") -> None:
        self.boot = boot or BOOT_ID.read_text(encoding="ascii").strip()

    def __call__(self) -> Clock:
        """Now."""
        return Clock(now=time.clock_gettime(time.CLOCK_BOOTTIME), boot=self.boot)


class Disk:
    """The agent's folder of small files, each written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.room = Room(folder / "ballast")
        self.unsaved: dict[str, Memory] = {}
        self.lock = threading.RLock()  # of memories: the newest is what stays

    def load(self, service: str) -> tuple[Memory, str]:
        """The service's memory, and what was wrong with the file if it could not be read."""
        path = self.folder / f"{service}.json"
        try:
            return _MEMORY.validate_json(path.read_bytes()), ""
        except FileNotFoundError:
            return Memory(), ""
        except (ValidationError, OSError) as error:
            path.rename(path.with_suffix(".unreadable"))
            why = briefly(error) if isinstance(error, ValidationError) else str(error)
            return Memory(), f"{path.name} was unreadable, starting from what runs: {why}"

    def save(self, service: str, memory: Memory) -> None:
        """Remember. Raises OSError; not on a full disk once nothing is on trial.

        A way back does not wait for room: what fills the disk may be the candidate.
        """
        with self.lock:
            try:
                self._write(self.folder / f"{service}.json", _MEMORY.dump_json(memory))
            except OSError as error:
                if not is_full(error) or memory.trial is not None:
                    raise
                self.unsaved[service] = memory
                return
            self.unsaved.pop(service, None)

    def recover(self) -> None:
        """After a full disk: write what could not be written, and lay the ballast again."""
        with self.lock:
            for service, memory in list(self.unsaved.items()):
                self.save(service, memory)
        if not self.unsaved:
            self.room.lay()

    def document(self) -> bytes | None:
        """The desired state that was understood last; None if none ever was."""
        path = self.folder / "desired"
        return path.read_bytes() if path.exists() else None

    def save_document(self, document: bytes) -> None:
        """Remember it."""
        self._write(self.folder / "desired", document)

    def kept(self, what: str) -> dict[str, list[str]]:
        """The images, or models, that each service has used here, newest first."""
        try:
            return _KEPT.validate_json((self.folder / what).read_bytes())
        except (FileNotFoundError, ValidationError):
            return {}

    def save_kept(self, what: str, kept: dict[str, list[str]]) -> None:
        """Remember them. Only the ballast makes way: who removes what is retired may be waiting for this."""
        data = _KEPT.dump_json(kept)
        write_with_room(lambda: write(self.folder / what, data), self.room.give_up)

    def services(self) -> set[str]:
        """Every service that is remembered."""
        return {path.stem for path in self.folder.glob("*.json")}

    def first_address(self, service: str) -> int:
        """The last number of the service's first address; given once, never to another."""
        path = self.folder / "seats"  # no .json: that is a service's
        seats: list[str] = json.loads(path.read_bytes()) if path.exists() else []
        if service not in seats:
            seats.append(service)
            self._write(path, json.dumps(seats).encode())
        return FIRST_ADDRESS + 2 * seats.index(service)

    def _write(self, path: Path, data: bytes) -> None:
        write_with_room(lambda: write(path, data), self.room.make)


def write(path: Path, data: bytes) -> None:
    """Write whole or not at all, and on disk when it returns."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
