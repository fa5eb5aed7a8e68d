"""Entries in Cloud Logging become parts of exported lines, each line exactly once."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
import zstandard
from pydantic import ValidationError

from blocks.cloud_logging import CloudLogging
from blocks.log_export import PACKING, Exported
from blocks.log_part import part_lines
from releases.cloud_log import CloudRecord, Reach, entries_between, exported, hour_of, part_key, record_key
from releases.log_export import PARTS
from releases.log_segment import partition
from releases.log_stream import Line
from releases.problem import Failed
from releases.store import AlreadyExists, Changed, NotFound, Store

ATTEMPTS = 20
Id = tuple[str, str]  # Cloud Logging's own rule: two entries with the same time and insertId are one


@dataclass(frozen=True)
class CloudLogExport:
    """One service's entries. Killed anywhere and run again, or twice at once: the same objects."""

    store: Store
    logs: CloudLogging
    service: str
    environment: str

    @property
    def key(self) -> str:
        """The checkpoint's."""
        return record_key(self.service, self.environment)

    def run(self, end: datetime, received: datetime) -> Exported:
        """Export every hour before `end`, from entries that had come before `received`. Raises Problem."""
        done, stuck, before = Exported(), 0, None
        while stuck < ATTEMPTS:
            try:
                self._run(end, received, done)
            except Changed:  # another run of the flow, or a lost answer: look what stands there now
                now, _ = self._load(end)
                stuck, before = (stuck + 1 if now == before else 0), now
                continue
            return done
        raise Failed("the export's checkpoint is being changed all the time", where=self.key)

    def newest(self, since: datetime, now: datetime) -> Iterator[Line]:
        """What is in no part yet, by time. Raises Problem."""
        record, _ = self._load(now)
        matching = entries_between(
            self.logs.project, self.service, self.environment, record.done, Reach(until=now, received=now)
        )
        for entry in self.logs.entries(matching):
            line = Line.of(exported(entry))
            if line.moment >= since:
                yield line

    def _run(self, end: datetime, received: datetime, done: Exported) -> None:
        record, generation = self._load(end)
        while True:
            left_over = record.next is not None  # by a run that was killed: it looked less far than this one
            if record.next is None:
                record.next = record.done.following(end, received)
                generation = self._save(record, generation)
            self._take(record.done, record.next, done)
            record = CloudRecord(done=record.next)
            generation = self._save(record, generation)
            if record.done.until >= end and not left_over:
                return

    def _take(self, last: Reach, to: Reach, done: Exported) -> None:
        matching = entries_between(self.logs.project, self.service, self.environment, last, to)
        named = f"{last.model_dump_json()} {to.model_dump_json()}"
        with tempfile.TemporaryDirectory(prefix="model-deploy-logs-") as scratch:
            for hour, entries in groupby(self.logs.entries(matching), hour_of):
                self._export_hour(hour, entries, named, Path(scratch), done)

    def _export_hour(
        self, hour: datetime, entries: Iterator[dict[str, Any]], named: str, scratch: Path, done: Exported
    ) -> None:
        """What is in no part of the hour yet, as one more."""
        folder = f"{PARTS}{partition(self.service, self.environment, hour)}/"
        there = list(self.store.list(folder))
        known = self._known(there, scratch)
        file, lines, raw_bytes = scratch / "part", 0, 0
        compressor = zstandard.ZstdCompressor(compression_params=PACKING)
        with file.open("wb") as raw, compressor.stream_writer(raw) as out:
            for entry in entries:
                line = exported(entry)
                if _id(line) not in known:
                    known.add(_id(line))
                    text = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
                    raw_bytes += out.write(text)
                    lines += 1
        if lines:
            key = self._free(hour, named, there)
            self._upload(key, file)
            done.parts.append(key)
            done.lines += lines
            done.raw_bytes += raw_bytes
            done.stored_bytes += file.stat().st_size

    def _free(self, hour: datetime, named: str, there: list[str]) -> str:
        """The part's name by what it is of; a further one where Cloud Logging shows more than at first."""
        for number in range(len(there) + 1):
            key = part_key(self.logs.project, self.service, self.environment, hour, f"{named} {number}")
            if key not in there:
                break
        return key

    def _upload(self, key: str, file: Path) -> None:
        try:
            self.store.upload(key, file)
        except AlreadyExists as error:
            raise Changed("another export has seen other entries", where=key) from error

    def _known(self, parts: list[str], scratch: Path) -> set[Id]:
        ids: set[Id] = set()
        for key in parts:
            self.store.download(key, scratch / "known")
            ids.update(_id(orjson.loads(line)) for line in part_lines(scratch / "known"))
        return ids

    def _load(self, end: datetime) -> tuple[CloudRecord, int]:
        try:
            data, generation = self.store.read(self.key)
            return CloudRecord.model_validate_json(data), generation
        except NotFound:
            return CloudRecord.before(end), 0
        except ValidationError as error:
            raise Failed("the export's checkpoint cannot be read", where=self.key) from error

    def _save(self, record: CloudRecord, generation: int) -> int:
        return self.store.replace(self.key, record.model_dump_json().encode(), generation)


def _id(line: dict[str, Any]) -> Id:
    return line["time"], line.get("id", "")
