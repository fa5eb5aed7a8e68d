"""Users who ask a service all the time, by old connections and by new ones."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import httpx

from tests.controllers import wait_until

PAUSE = 0.02


@contextmanager
def asking(
    ask: Callable[[httpx.Client], httpx.Response],
    client: Callable[[], httpx.Client],
    keep_alive: Sequence[bool],
) -> Iterator[list[str]]:
    """One user for each `keep_alive`, all served before this goes on; what went wrong."""
    failures, asked, stop = list[str](), list[int](), threading.Event()

    def go_on(keeps: bool) -> None:
        mine = client()
        while not stop.wait(PAUSE):
            try:
                asked.append(ask(mine).raise_for_status().status_code)
            except httpx.HTTPError as error:
                failures.append(repr(error))
            if not keeps:
                mine.close()
                mine = client()

    threads = [threading.Thread(target=go_on, args=[keeps], daemon=True) for keeps in keep_alive]
    for one in threads:
        one.start()
    wait_until(lambda: len(asked) > 8, 20)
    try:
        yield failures
    finally:
        stop.set()
        for one in threads:
            one.join(15)
