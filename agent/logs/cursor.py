"""How far a container's log files are in segments; on disk before anything builds on it."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.memory import write
from releases.log_segment import Name, Origin
from releases.on_disk import sync

KEPT_FILES = 200


class FileCursor(BaseModel):
    """One log file."""

    model_config = ConfigDict(extra="ignore")

    ordinal: int
    offset: int = Field(0, description="Up to here it is in segments.")
    size: int | None = Field(None, description="How long it was in the end: nothing more can come.")
    previous_file: str = ""
    previous_size: int | None = None
    whole: str = Field("", description="The name by its whole first line, where it goes by a former one.")

    @property
    def done(self) -> bool:
        """Whether all of it is in segments."""
        return self.size is not None and self.offset >= self.size


class Cursor(BaseModel):
    """One container."""

    model_config = ConfigDict(extra="ignore")

    origin: Origin
    files: dict[str, FileCursor] = Field(default_factory=dict)

    def newest(self) -> str:
        """The file that was written last, as far as was seen; empty where none was."""
        return max(self.files, key=lambda file: self.files[file].ordinal, default="")

    def add(self, file: str) -> FileCursor:
        """A file never seen before, the newest one now."""
        before = self.newest()
        made = FileCursor(ordinal=0)
        if before:
            last = self.files[before]
            made = FileCursor(ordinal=last.ordinal + 1, previous_file=before, previous_size=last.size)
        self.files[file] = made
        for old in sorted(self.files, key=lambda one: self.files[one].ordinal)[:-KEPT_FILES]:
            del self.files[old]
        return made

    def knows_as(self, former: str, name: str) -> bool:
        """Whether this file is in the cursor under its former name, which one file can have only."""
        known = self.files.get(former) if name not in self.files else None
        return known is not None and known.whole in ("", name)

    def fold_in(self, name: Name) -> None:
        """A segment that is on disk counts, even if the cursor was not saved after it."""
        found = self.files.setdefault(name.file, FileCursor(ordinal=name.ordinal))
        found.offset = max(found.offset, name.end or 0)


class Cursors:
    """The folder of cursors, one file per container."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def all(self) -> list[Cursor]:
        """Every cursor that can be read; one that cannot is set aside, its files are read from the start."""
        found = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                found.append(Cursor.model_validate_json(path.read_bytes()))
            except ValidationError:
                path.rename(path.with_suffix(".unreadable"))
        return found

    def save(self, cursor: Cursor) -> None:
        """On disk when it returns, the name as well."""
        write(self.folder / f"{cursor.origin.container}.json", cursor.model_dump_json().encode())
        sync(self.folder)

    def forget(self, container: str) -> None:
        """The container is gone and everything of it is in segments."""
        (self.folder / f"{container}.json").unlink(missing_ok=True)
