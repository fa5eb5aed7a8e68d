"""Prefect's server, kept from waiting for itself: `python -m deployments.prefect_server`, then its arguments.

Python looks for garbage in whatever thread has just made an object: here that is mostly the event loop. Among
the garbage are cursors of statements that failed because SQLite was locked. To let go of one takes the lock
of its connection, which another statement keeps while it waits for the database, up to a minute (Prefect's
`busy_timeout`); and whoever has the database waits for the event loop. So a thread of its own looks.
"""

import gc
import runpy
import sys
import threading
import time
from importlib import import_module

TURN = 0.25  # seconds between two looks at the youngest objects
OLDER = 20  # turns until those that survived are looked at
OLDEST = 400  # turns until all are


def main() -> None:
    """Run until SIGTERM."""
    import_module("prefect.server.api.server")
    look_for_garbage_beside()
    sys.argv[1:1] = ["server", "start"]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


def look_for_garbage_beside() -> None:
    """From now on no thread looks for garbage but one; what is imported already is never looked through."""
    gc.disable()
    gc.freeze()
    threading.Thread(target=_look, name="garbage", daemon=True).start()


def _look() -> None:
    turn = 0
    while True:
        time.sleep(TURN)
        turn += 1
        gc.collect(2 if turn % OLDEST == 0 else 1 if turn % OLDER == 0 else 0)


if __name__ == "__main__":
    main()
