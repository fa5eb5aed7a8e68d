"""What Ctrl-C does to a command, whatever it meets there; whole releases are in test_release.py."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from flows.ctrl_c import confirmed, ctrl_c_cancels, pressed
from flows.turn import stop_if_cancelled
from releases.problem import Cancelled


@pytest.fixture(autouse=True)
def _as_in_a_terminal() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def command(then: Callable[[], None]) -> None:
    """One that is cancelled, and what becomes of that."""
    with ctrl_c_cancels():
        try:
            press()
        except Cancelled:
            then()


def test_what_prefect_makes_of_it_is_still_a_cancel() -> None:
    def start_a_task() -> None:  # as prefect.task_engine does
        raise AssertionError("Task run is not set")

    with pytest.raises(Cancelled):
        command(start_a_task)


def test_one_that_a_destructor_swallows_is_noticed_at_the_next_look() -> None:
    with pytest.raises(Cancelled):
        command(stop_if_cancelled)


def test_the_second_one_ends_the_command_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        command(press)


def test_a_release_that_is_confirmed_is_told_to_the_end() -> None:
    with ctrl_c_cancels():
        confirmed()
        press()
        assert not pressed()
