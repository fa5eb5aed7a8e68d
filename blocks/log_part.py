"""The lines of one exported part, read as they come: memory stays flat."""

import io
from collections.abc import Iterator
from pathlib import Path

import zstandard

BLOCK = 1 << 20


def part_lines(file: Path) -> Iterator[bytes]:
    """Each line with its end."""
    reader = zstandard.ZstdDecompressor().stream_reader(file.open("rb"), read_across_frames=True)
    with io.BufferedReader(reader, BLOCK) as lines:
        yield from lines
