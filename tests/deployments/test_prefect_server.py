"""Prefect's server goes on while SQLite makes one of its connections wait."""

import subprocess
import sys
from pathlib import Path

BUSY_SECONDS = 6
SERVER = f"""
import sqlite3, sys, threading, time
from deployments.prefect_server import look_for_garbage_beside

one = sqlite3.connect(sys.argv[1], isolation_level=None)
one.execute("create table runs (name)")
one.execute("begin immediate")  # it has the database
other = sqlite3.connect(sys.argv[1], isolation_level=None, check_same_thread=False)
other.execute("pragma busy_timeout = {BUSY_SECONDS * 1000}")
if sys.argv[2] == "ours":
    look_for_garbage_beside()


class Failed:
    def __init__(self):
        self.context, self.cursor = self, other.execute("select 1")


Failed()  # garbage, with a cursor of the connection that has to wait
waits = threading.Thread(target=other.execute, args=["begin immediate"])
waits.start()
time.sleep(0.3)
began = time.monotonic()
while time.monotonic() < began + 1:  # what an event loop does: it makes objects
    kept = [[] for _ in range(2000)]
    longest = time.monotonic() - began
    if longest > 2:
        break
print("stood still" if longest > 2 else "went on", flush=True)
one.execute("commit")
waits.join()
"""


def run(tmp_path: Path, whose: str) -> str:
    argv = [sys.executable, "-c", SERVER, str(tmp_path / whose), whose]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def test_its_event_loop_lets_go_of_no_cursor_of_a_connection_that_waits(tmp_path: Path) -> None:
    assert run(tmp_path, "ours") == "went on"


def test_python_by_itself_would_stand_still(tmp_path: Path) -> None:
    """Else the server may be started as Prefect says."""
    assert run(tmp_path, "python") == "stood still"
