"""Killed anywhere and started again: every line once. And a store that fails in every way."""

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agent.logs.folder import Folder
from agent.logs.upload import Uploader
from bench.json_file import JsonFile, line
from releases.log_segment import Origin
from releases.problem import Unreachable
from releases.store import AlreadyExists
from tests.agent.logs import container, contiguous, follower, gaps, settle, stored, texts

KILLS = 50
PROGRAM = """
import sys, threading
from pathlib import Path
from agent.logs import follower as module
from agent.logs.follow import Limits
from tests.agent.logs import follower
module.POLL_SECONDS, module.UPLOAD_SECONDS = 0.002, 0.002
logs = follower(Path(sys.argv[1]), *"ab", limits=Limits(raw_bytes=20_000, seconds=0.01))
logs.start()
print("following", flush=True)
threading.Event().wait(60)
"""


def test_killed_at_random_points_every_line_is_there_once(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    sys.stdout.write(f"seed {seed}\n")
    files = [JsonFile(tmp_path / "containers", container(letter), 400_000, 100) for letter in "ab"]
    stop = threading.Event()
    written = [0, 0]

    def write() -> None:
        while not stop.wait(0.001):
            for which, file in enumerate(files):
                for _ in range(20):
                    file.write(line(f"{written[which]}\n"))
                    written[which] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(KILLS):
            argv = [sys.executable, "-c", PROGRAM, str(tmp_path)]
            with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
                assert process.stdout is not None
                process.stdout.readline()
                stop.wait(dice.random() * 0.15)  # the random point, not a wait for something
                process.send_signal(signal.SIGKILL)
    finally:
        stop.set()
        writer.join()
    settle(follower(tmp_path, "a", "b"), "a", "b")
    found = stored(tmp_path / "store")
    assert not gaps(tmp_path / "store")
    assert contiguous(found)
    for which, letter in enumerate("ab"):
        assert texts(found, letter) == [f"{number}\n" for number in range(written[which])]
    assert len(found) > KILLS


class Flaky:
    """Fails before the effect, or after it, again and again."""

    def __init__(self, folder: Folder, seed: int) -> None:
        self.folder = folder
        self.dice = random.Random(seed)
        self.lost_answers = 0

    def upload(self, key: str, file: Path) -> str:
        if self.dice.random() < 0.3:
            raise Unreachable("503")
        done = self.folder.upload(key, file)
        if self.dice.random() < 0.3:
            self.lost_answers += 1
            raise TimeoutError("the answer was lost")
        return done


@pytest.mark.parametrize("seed", range(5))
def test_a_store_that_loses_answers_gets_everything_once(tmp_path: Path, seed: int) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), 200_000, 5)
    logs = follower(tmp_path, "a")
    flaky = Flaky(Folder(tmp_path / "store"), seed)
    logs.uploader = Uploader(logs.segments, flaky)
    logs.look()
    for number in range(10_000):
        file.write(line(f"{number}\n"))
        if number % 500 == 0:
            logs.poll()
    logs.followers[container("a")].drain()
    for _ in range(1000):
        try:
            logs.uploader.round()
        except (Unreachable, TimeoutError):
            continue
        break
    assert not logs.segments.finished()
    assert flaky.lost_answers
    assert texts(stored(tmp_path / "store"), "a") == [f"{number}\n" for number in range(10_000)]


def test_a_segment_that_was_sealed_but_not_remembered_is_not_read_again(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), 200_000, 5)
    file.write_all(line(f"{number}\n") for number in range(100))
    logs = follower(tmp_path, "a")
    logs.look()
    logs.poll()
    cursor = tmp_path / "state" / "cursors" / f"{container('a')}.json"
    logs.cursors.save(logs.followers[container("a")].cursor)
    before = cursor.read_bytes()
    logs.followers[container("a")].drain()
    cursor.write_bytes(before)  # killed between the rename and the cursor
    file.write(line("100\n"))
    settle(follower(tmp_path, "a"), "a")
    assert texts(stored(tmp_path / "store"), "a") == [f"{number}\n" for number in range(101)]


def test_draining_has_the_last_lines_in_a_segment(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), 200_000, 5)
    logs = follower(tmp_path, "a")
    logs.start()
    try:
        file.write_all(line(f"{number}\n") for number in range(1000))
        assert logs.drain(container("a"), 10)
        file.remove()
        assert logs.drain(container("f"), 10)  # one that nobody knows has nothing left to say
        deadline = time.monotonic() + 20
        while logs.followers or logs.segments.finished():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        logs.stop.set()
    assert texts(stored(tmp_path / "store"), "a") == [f"{number}\n" for number in range(1000)]


def test_a_spoilt_segment_and_a_store_that_is_away_are_said_and_stop_nothing(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), 200_000, 5)
    logs = follower(tmp_path, "a", most_bytes=8192)
    (tmp_path / "store").write_text("no folder")
    said: list[str] = []
    logs.tell = said.append
    file.write_all(line(f"{number}\n") for number in range(2000))
    logs.look()
    while logs.poll():
        pass
    logs.followers[container("a")].drain()
    for path in logs.segments.finished():
        path.write_bytes(b"spoilt by the disk")
    logs.start()
    try:
        for last in range(2000, 12_000, 2000):
            file.write_all(line(f"{number}\n") for number in range(last, last + 2000))
            assert logs.drain(container("a"), 10)
        deadline = time.monotonic() + 20
        while not any("cannot be uploaded" in text for text in said):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        (tmp_path / "store").unlink()
        while said[-1] or logs.segments.finished():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        logs.stop.set()
    assert {gap.origin.service for gap in gaps(tmp_path / "store")} == {"iris"}


def test_what_nobody_thought_of_is_said_and_tried_again(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), 200_000, 5)
    logs = follower(tmp_path, "a")
    said: list[str] = []
    logs.tell = said.append
    poll, failed = logs.poll, []

    def fails_twice() -> bool:
        if len(failed) < 2:
            failed.append(1)
            raise KeyError("nobody thought of this")
        return poll()

    logs.poll = fails_twice  # type: ignore[method-assign]
    file.write(line("one\n"))
    logs.start()
    try:
        assert logs.drain(container("a"), 10)
    finally:
        logs.stop.set()
    assert "KeyError" in said[0]
    logs.uploader.round()
    assert texts(stored(tmp_path / "store"), "a") == ["one\n"]


def test_the_folder_never_replaces(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    folder = Folder(tmp_path / "store")
    folder.upload("a/b", tmp_path / "one")
    with pytest.raises(AlreadyExists):
        folder.upload("a/b", tmp_path / "one")
    assert [path.name for path in (tmp_path / "store" / "a").iterdir()] == ["b"]


def test_files_stay_open_while_the_engine_does_not_answer(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "containers", container("a"), 200_000, 5)
    logs = follower(tmp_path, "a")
    file.write(line("before\n"))
    logs.look()
    logs.poll()

    def no_answer() -> dict[str, Origin]:
        raise OSError("the engine does not answer")

    logs.origins = no_answer
    logs.start()
    try:
        file.write(line("after\n"))
        assert logs.drain(container("a"), 10)
        assert "does not answer" in logs.problem
    finally:
        logs.stop.set()
    logs.uploader.round()
    assert texts(stored(tmp_path / "store"), "a") == ["before\n", "after\n"]
