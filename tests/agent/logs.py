"""What the tests of the log follower share."""

import io
import itertools
from dataclasses import dataclass
from pathlib import Path

import orjson
import zstandard

from agent.logs.folder import Folder
from agent.logs.follow import Limits
from agent.logs.follower import LogFollower
from releases.log_segment import SEGMENTS, Gap, Header, Origin, Place, read_header

SMALL = Limits(raw_bytes=64 << 10, seconds=0.2)


def container(letter: str) -> str:
    return letter * 64


def origins(*letters: str, log_files: int = 0) -> dict[str, Origin]:
    return {
        container(letter): Origin(
            service="iris",
            environment="local",
            node="n1",
            container=container(letter),
            release=3,
            model_version="v1.1",
            log_files=log_files,
        )
        for letter in letters
    }


def follower(tmp_path: Path, *letters: str, limits: Limits = SMALL, most_bytes: int = 1 << 30) -> LogFollower:
    return LogFollower(
        tmp_path / "containers",
        tmp_path / "state",
        lambda: origins(*letters),
        Folder(tmp_path / "store"),
        limits,
        most_bytes,
    )


def settle(logs: LogFollower, *letters: str) -> None:
    """Read everything, finish the segments, upload them."""
    logs.look()
    while logs.poll():
        pass
    for letter in letters:
        if container(letter) in logs.followers:
            logs.followers[container(letter)].drain()
    logs.poll()
    logs.uploader.round()


def follow_in(folder: Path) -> None:
    """One container's file, as an agent does it."""
    settle(follower(folder, "a", limits=Limits()), "a")


@dataclass(frozen=True)
class Stored:
    place: Place
    header: Header
    raw: bytes


def stored(store: Path) -> list[Stored]:
    """Every uploaded segment, in the order of the container's files; each is as long as its name says."""
    found = []
    for path in (store / SEGMENTS).rglob("*.jsonl.zst"):
        place = Place.parse(path.relative_to(store / SEGMENTS).as_posix())
        assert place is not None
        file = io.BytesIO(path.read_bytes())
        header = read_header(file)
        raw = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
        assert len(raw) == place.name.end - place.name.start
        found.append(Stored(place, header, raw))
    return sorted(
        found, key=lambda one: (one.place.name.container, one.place.name.ordinal, one.place.name.start)
    )


def lines_of(release: int, store: Path) -> list[str]:
    """What the release's containers have written, as far as it is in the store."""
    raw = b"".join(one.raw for one in stored(store) if one.header.origin.release == release)
    return [orjson.loads(line)["log"].strip() for line in raw.splitlines()]


def gaps(store: Path) -> list[Gap]:
    return [Gap.model_validate_json(path.read_bytes()) for path in (store / SEGMENTS).rglob("*.gap.json")]


def contiguous(segments: list[Stored]) -> bool:
    """Whether every file's segments follow one another from 0, and every file follows the one before."""
    for before, now in itertools.pairwise([None, *segments]):
        name, header = now.place.name, now.header
        if before is None or before.place.name.container != name.container:
            follows = name.start == 0 and not header.previous_file
        elif before.place.name.file == name.file:
            follows = before.place.name.end == name.start
        else:
            last = before.place.name
            follows = (header.previous_file, header.previous_size, 0) == (last.file, last.end, name.start)
        if not follows:
            return False
    return True


def texts(segments: list[Stored], letter: str) -> list[str]:
    raw = b"".join(one.raw for one in segments if one.place.name.container == container(letter))
    return [orjson.loads(each)["log"] for each in raw.splitlines()]
