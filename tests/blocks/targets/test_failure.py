"""What an agent's failure is told as."""

from blocks.targets.failure import READY, failed
from releases.status import Failure, Phase

HINT = "mend run.warmup, or the service"


def test_one_that_was_never_ready_says_what_to_mend_and_leaves_the_command_to_the_lines() -> None:
    """Whoever takes the release back names the command that shows them, where none is named here."""
    told = failed("iris", Failure(phase=Phase.probe, reason="it is cold", next_step=HINT))
    assert (told.expected, told.next_step) == (f"{READY}; {HINT}", "")
    told = failed("iris", Failure(phase=Phase.probe, reason="it crashed"))
    assert (told.expected, told.next_step) == (READY, "")


def test_any_other_says_the_agents_own_next_step() -> None:
    told = failed("iris", Failure(phase=Phase.start, reason="no", next_step="docker logs iris-r1"))
    assert (told.expected, told.next_step) == ("", "docker logs iris-r1")
