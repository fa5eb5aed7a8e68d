"""Ctrl-C in a command is what the UI's cancel is: the run ends as cancelled, and all is taken back."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from releases.problem import Cancelled

_pressed, _confirmed = Event(), Event()


@contextmanager
def ctrl_c_cancels() -> Iterator[None]:
    """Have Ctrl-C raise Cancelled until the release is confirmed; the second one ends the command at once."""
    before = signal.getsignal(signal.SIGINT)

    def cancel(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        if not _confirmed.is_set():
            _pressed.set()
            raise Cancelled

    if before == signal.default_int_handler:  # a shell's background jobs ignore Ctrl-C
        signal.signal(signal.SIGINT, cancel)
    try:
        yield
    except Exception as error:
        # Where it meets Prefect in the middle of starting a task, an AssertionError of Prefect's comes out.
        if pressed():
            raise Cancelled from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        _pressed.clear()
        _confirmed.clear()


def pressed() -> bool:
    """Whether a person has cancelled so."""
    return _pressed.is_set()


def confirmed() -> None:
    """From here on Ctrl-C cancels nothing: the release is live, and only telling of it is left."""
    _confirmed.set()
