"""Several transfers at a time, of which the first failure ends the others."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from releases.problem import Failed
from releases.store import Moved

AT_ONCE = 8  # files; the store, not the processor, is what a transfer waits for
Item = TypeVar("Item")
Result = TypeVar("Result")


class _GivenUp(Failed):
    """Of the files that were under way when another one failed: never what a person is told."""


def all_at_once(do: Callable[[Item, Moved], Result], items: Iterable[Item], moved: Moved) -> list[Result]:
    """Do it for all, several at a time; the first failure, or a person's interrupt, ends the others."""
    ended = threading.Event()

    def told(size: int) -> None:
        if ended.is_set():
            raise _GivenUp("another file has failed")
        moved(size)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(do, item, told) for item in items]
        try:
            ready, _ = wait(futures, return_when=FIRST_EXCEPTION)
            _raise_the_cause(ready)
        except BaseException:
            ended.set()
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _raise_the_cause(ready: Iterable[Future[Result]]) -> None:
    """What made the others give up, if anything has failed."""
    problems = [one for future in ready if (one := future.exception()) is not None]
    for problem in sorted(problems, key=lambda one: isinstance(one, _GivenUp)):
        raise problem
