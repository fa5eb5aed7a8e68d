"""Log export against `docker logs -t | gzip -6`: speed on one core, memory, bytes stored, lines lost.

`python -m bench.log_export [MB]`. The same container's log file is read by both; where no engine answers, the
other side is gzip -6 alone, which flatters it.
"""

import gzip
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from bench.json_file import JsonFile, line

CONTAINER = "c" * 64
IMAGE = "python:3.11-slim"
WRITER_MB_PER_SECOND = 20
WRITER_SECONDS = 15
BATCH = 2000


@dataclass(frozen=True)
class Cost:
    """What one side took. `processor`: its seconds without those that others on the machine had."""

    seconds: float
    processor: float
    peak_mb: float
    before_mb: float
    stored: int
    lines: int = 0


def text_lines(megabytes: float) -> Iterator[str]:
    """What a service's access log looks like."""
    dice, size = random.Random(1), 0
    while size < megabytes * 1e6:
        text = (
            f'172.31.0.{dice.randrange(255)} - "POST /predict HTTP/1.1" 200 {dice.randrange(9999)} '
            f"{dice.random():.4f} request_id={dice.getrandbits(64):016x}\n"
        )
        size += len(text) + 77  # the engine's record around it
        yield text


def alone(work: "object", *given: object) -> Cost:
    """Run in a fresh process on one core."""
    receive, send = get_context("spawn").Pipe(duplex=False)
    process = get_context("spawn").Process(target=_measured, args=(work, given, send))
    process.start()
    process.join(1800)
    cost: Cost = receive.recv()
    return cost


def _measured(work: "object", given: tuple[object, ...], send: Connection) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    send.send(work(*given))  # type: ignore[operator]


def peak_mb() -> float:
    """The process's highest resident size so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def follow(containers: Path, container: str, folder: Path) -> Cost:
    """Log file → segments → store."""
    from agent.logs.folder import Folder  # noqa: PLC0415
    from agent.logs.follow import Limits  # noqa: PLC0415
    from agent.logs.follower import LogFollower  # noqa: PLC0415
    from releases.log_segment import Origin  # noqa: PLC0415

    origin = Origin(service="iris", environment="bench", node="n", container=container, release=1)
    before, started, begun = peak_mb(), time.monotonic(), time.process_time()
    logs = LogFollower(
        containers, folder / "state", lambda: {container: origin}, Folder(folder / "store"), Limits()
    )
    logs.look()
    while logs.poll():
        logs.uploader.round()
    logs.followers[container].drain()
    logs.uploader.round()
    stored = sum(path.stat().st_size for path in (folder / "store").rglob("*.zst"))
    processor = time.process_time() - begun
    return Cost(time.monotonic() - started, processor, peak_mb(), before, stored)


def merge(folder: Path) -> Cost:
    """Segments → parts."""
    from blocks.log_export import ContainerExport, waiting  # noqa: PLC0415
    from blocks.store import DirectoryStore  # noqa: PLC0415

    store = DirectoryStore(path=folder / "store")
    before, started, begun = peak_mb(), time.monotonic(), time.process_time()
    lines = stored = 0
    for (service, container), places in waiting(store, "bench").items():
        until = datetime.now(UTC) + timedelta(days=1)
        done = ContainerExport(store, service, "bench", container).run(places, until)
        lines, stored = lines + done.lines, stored + done.stored_bytes
    processor = time.process_time() - begun
    return Cost(time.monotonic() - started, processor, peak_mb(), before, stored, lines)


@contextmanager
def real_container(megabytes: float) -> Iterator[tuple[Path, str, int] | None]:
    """A container that has logged the lines unrotated: folder, id, number of lines; None: no engine."""
    root = _docker("info", "-f", "{{.DockerRootDir}}")
    if not root or not os.access(f"{root}/containers", os.R_OK):
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        count = 0
        with (Path(folder) / "lines").open("w") as file:
            for text in text_lines(megabytes):
                file.write(text)
                count += 1
        source = ["-v", f"{folder}:/lines:ro", "--log-driver", "json-file"]
        container = _docker("run", "-d", *source, "--entrypoint", "cat", IMAGE, "/lines/lines")
        try:
            _docker("wait", container)
            yield Path(root) / "containers", container, count
        finally:
            _docker("rm", "-fv", container)


@dataclass(frozen=True)
class Other:
    """What the other side took. `processor`: seconds of all cores together, the engine's own included."""

    name: str
    seconds: float
    processor: float
    stored: int


def other_side(container: str) -> Other:
    """`docker logs -t | gzip -6`: three programs side by side, so more than one core's worth."""
    started, before = time.monotonic(), children_seconds() + engine_seconds()
    command = f"docker logs -t {container} 2>&1 | gzip -6 | wc -c"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    seconds = time.monotonic() - started
    processor = children_seconds() + engine_seconds() - before
    return Other("docker logs -t | gzip", seconds, processor, int(done.stdout))


def gzip_alone(megabytes: float) -> Other:
    """What gzip -6 takes for the bare text."""
    text = "".join(text_lines(megabytes)).encode()
    started = time.monotonic()
    stored = len(gzip.compress(text, 6))
    seconds = time.monotonic() - started
    return Other("gzip -6 alone", seconds, seconds, stored)


def children_seconds() -> float:
    """Processor seconds of the programs that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def engine_seconds() -> float:
    """Processor seconds of this machine's engine so far; 0 where it cannot be seen."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue  # it has ended
        if name == "dockerd":
            ticks += sum(int(one) for one in fields.split()[11:13])  # utime and stime of proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def write_fast(containers: Path, seconds: float, send: Connection) -> None:
    """20 MB/s at rotation 10 MB x 5, as long as asked; sends how many lines."""
    file = JsonFile(containers, CONTAINER, 10_000_000, 5)
    texts = [line(text) for text in text_lines(2)]
    started, size, number = time.monotonic(), 0, 0
    while time.monotonic() - started < seconds:
        for _ in range(BATCH):
            raw = b'{"log":"%d %s' % (number, texts[number % len(texts)][8:])
            file.write(raw)
            size += len(raw)
            number += 1
        ahead = size / (WRITER_MB_PER_SECOND * 1e6) - (time.monotonic() - started)
        if ahead > 0:
            time.sleep(ahead)
    send.send((number, size, file.rotations, time.monotonic() - started))


def lost_at_rotation(folder: Path) -> str:
    """Follow a fast writer while it rotates, and count."""
    import io  # noqa: PLC0415

    import zstandard  # noqa: PLC0415

    from agent.logs.folder import Folder  # noqa: PLC0415
    from agent.logs.follower import LogFollower  # noqa: PLC0415
    from releases.log_segment import Origin, read_header  # noqa: PLC0415

    containers = folder / "containers"
    origin = Origin(service="iris", environment="bench", node="n", container=CONTAINER)
    logs = LogFollower(containers, folder / "state", lambda: {CONTAINER: origin}, Folder(folder / "store"))
    receive, send = get_context("spawn").Pipe(duplex=False)
    writer = get_context("spawn").Process(target=write_fast, args=(containers, WRITER_SECONDS, send))
    writer.start()
    logs.start()
    number, size, rotations, seconds = receive.recv()
    writer.join()
    logs.drain(CONTAINER, 60)
    logs.stop.set()
    logs.uploader.round()
    there = 0
    for path in (folder / "store").rglob("*.jsonl.zst"):
        file = io.BytesIO(path.read_bytes())
        read_header(file)
        there += zstandard.ZstdDecompressor().stream_reader(file).read().count(b"\n")
    return f"{number - there} of {number} lines lost, {size / seconds / 1e6:.1f} MB/s, {rotations} rotations"


def main() -> None:
    """Run both sides and say what came out."""
    megabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 300.0
    folder = Path(tempfile.mkdtemp(prefix="model-deploy-bench-"))
    try:
        with real_container(megabytes) as real:
            if real:
                containers, container, count = real
            else:
                containers, container = folder / "containers", CONTAINER
                file = JsonFile(containers, container, 1 << 40, 2)
                texts = list(text_lines(megabytes))
                file.write_all(line(text) for text in texts)
                count = len(texts)
            size = (containers / container / f"{container}-json.log").stat().st_size
            followed = alone(follow, containers, container, folder)
            merged = alone(merge, folder)
            other = other_side(container) if real else gzip_alone(megabytes)
        ours = followed.seconds + merged.seconds
        processor = followed.processor + merged.processor
        print(f"log file           {size / 1e6:8.0f} MB, {count} lines, {count - merged.lines} lost")
        for name, cost in (("follow and upload", followed), ("merge", merged)):
            extra = cost.peak_mb - cost.before_mb
            print(
                f"{name:18} {size / cost.seconds / 1e6:8.0f} MB/s on one core, "
                f"{size / cost.processor / 1e6:.0f} where it has it alone, peak {cost.peak_mb:.0f} MB "
                f"({extra:.0f} of it the work's), {cost.stored / 1e6:.2f} MB stored"
            )
        print(
            f"both               {size / ours / 1e6:8.0f} MB/s on one core, "
            f"{size / processor / 1e6:.0f} where it has it alone"
        )
        print(
            f"{other.name:22} {size / other.seconds / 1e6:4.0f} MB/s on all cores, "
            f"{size / other.processor / 1e6:.0f} on one, {other.stored / 1e6:.2f} MB stored"
        )
        print(
            f"ratio             {other.seconds / ours:8.1f} x the speed, "
            f"{other.processor / processor:.1f} by processor seconds, "
            f"{merged.stored / other.stored:.2f} x the bytes"
        )
        print(f"rotation 10 MB x 5 {lost_at_rotation(folder / 'rotation')}")
    finally:
        shutil.rmtree(folder)


def _docker(*words: str) -> str:
    try:
        done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False, timeout=900)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    main()
