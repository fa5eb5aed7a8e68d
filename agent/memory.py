"""What the agent keeps on disk: what Docker cannot tell it."""

import json
import os
import time
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from releases.swap import Clock, Memory

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

    def load(self, service: str) -> tuple[Memory, str]:
        """The service's memory, and what was wrong with the file if it could not be read."""
        path = self.folder / f"{service}.json"
        try:
            return _MEMORY.validate_json(path.read_bytes()), ""
        except FileNotFoundError:
            return Memory(), ""
        except (ValidationError, OSError) as error:
            path.rename(path.with_suffix(".unreadable"))
            return Memory(), f"{path.name} was unreadable, starting from what runs: {str(error)[:200]}"

    def save(self, service: str, memory: Memory) -> None:
        """Remember."""
        write(self.folder / f"{service}.json", _MEMORY.dump_json(memory))

    def document(self) -> bytes | None:
        """The desired state that was understood last; None if none ever was."""
        path = self.folder / "desired"
        return path.read_bytes() if path.exists() else None

    def save_document(self, document: bytes) -> None:
        """Remember it."""
        write(self.folder / "desired", document)

    def kept(self, what: str) -> dict[str, list[str]]:
        """The images, or models, that each service has used here, newest first."""
        try:
            return _KEPT.validate_json((self.folder / what).read_bytes())
        except (FileNotFoundError, ValidationError):
            return {}

    def save_kept(self, what: str, kept: dict[str, list[str]]) -> None:
        """Remember them."""
        write(self.folder / what, _KEPT.dump_json(kept))

    def services(self) -> set[str]:
        """Every service that is remembered."""
        return {path.stem for path in self.folder.glob("*.json")}

    def first_address(self, service: str) -> int:
        """The last number of the service's first address; given once, never to another."""
        path = self.folder / "seats"  # no .json: that is a service's
        seats: list[str] = json.loads(path.read_bytes()) if path.exists() else []
        if service not in seats:
            seats.append(service)
            write(path, json.dumps(seats).encode())
        return FIRST_ADDRESS + 2 * seats.index(service)


def write(path: Path, data: bytes) -> None:
    """Write whole or not at all, and on disk when it returns."""
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
