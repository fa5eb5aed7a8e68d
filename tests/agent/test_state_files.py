"""The agent's own small files, written by several threads at once."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.memory import Disk
from releases.swap_memory import Memory
from tests.releases.test_swap import release


def in_the_middle_of_a_write(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> None:
    """Done once, by another thread, while a file is written but has not got its name."""
    sync, threads = os.fsync, list[threading.Thread]()

    def stopped(number: int) -> None:
        if not threads:
            threads.append(threading.Thread(target=work))
            threads[0].start()
            threads[0].join(0.3)  # it may wait for this write to end
        sync(number)

    monkeypatch.setattr("agent.memory.os.fsync", stopped)


@pytest.mark.parametrize("service", ["images", "desired", "seats"])
def test_a_service_may_be_called_as_a_file_of_the_agents_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    disk, memory = Disk(tmp_path), Memory(confirmed=release(1))
    in_the_middle_of_a_write(monkeypatch, lambda: disk.save(service, memory))
    match service:
        case "images":
            disk.save_kept("images", {"iris": ["i@sha256:1"]})
            assert disk.kept("images") == {"iris": ["i@sha256:1"]}
        case "desired":
            disk.save_document(b"{}")
            assert disk.document() == b"{}"
        case "seats":
            assert disk.first_address("iris") == disk.first_address("iris")
    assert disk.load(service) == (memory, "")


def test_what_a_full_disk_had_no_room_for_never_replaces_something_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, newer = Disk(tmp_path), Memory(confirmed=release(2))
    disk.unsaved["iris"] = Memory(confirmed=release(1))
    saving = threading.Event()

    def save() -> None:
        disk.save("iris", newer)
        saving.set()

    in_the_middle_of_a_write(monkeypatch, save)
    disk.recover()
    assert saving.wait(5)
    assert disk.load("iris") == (newer, "")
