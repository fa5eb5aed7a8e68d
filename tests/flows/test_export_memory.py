"""From log file to part in the same little memory, however much there is: a backlog of 10 GB as one of 5 MB."""

import random
from itertools import cycle, islice
from pathlib import Path

from bench.json_file import JsonFile, line
from tests.agent.logs import container, follow_in
from tests.killed_work import HOUR, export_in
from tests.memory import megabytes

SMALL, TIMES, LENGTH = 5_000_000, 20, 4000
MORE = 8.0  # MB, of 95 that are read and some 45 that are written
DIFFERENT = 1000  # further apart than zstd looks back: packing must not make the lines nothing


def taken(folder: Path, size: int) -> tuple[float, float]:
    """By following a log file of that size, and by exporting it."""
    dice = random.Random(1)
    lines = [line(f"{dice.randbytes(LENGTH // 2).hex()}\n", at=HOUR) for _ in range(DIFFERENT)]
    file = JsonFile(folder / "containers", container("a"), 1 << 40, 2)
    file.write_all(islice(cycle(lines), size // LENGTH))
    file.file.close()
    return megabytes(follow_in, folder), megabytes(export_in, folder / "store")


def test_twenty_times_the_lines_take_no_more_memory(tmp_path: Path) -> None:
    followed, exported = taken(tmp_path / "small", SMALL)
    more_followed, more_exported = taken(tmp_path / "large", SMALL * TIMES)
    (part,) = (tmp_path / "large" / "store" / "logs").glob("service=*/**/part-*.jsonl.zst")
    assert part.stat().st_size > SMALL * TIMES / 3
    assert more_followed < followed + MORE
    assert more_exported < exported + MORE
