"""`model-deploy logs` of a service that runs: what its container has printed, and with -f what the next one prints."""

import pytest

from tests.controllers import wait_until
from tests.place import Place

pytestmark = pytest.mark.containers


def test_its_lines_are_shown_and_those_of_the_release_that_takes_over(place: Place) -> None:
    place.released()
    live = place.live()
    shown = place.model_deploy("logs", "sample")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert starts(shown.stdout) == [live]
    following = place.start("logs", "--follow")  # this folder's service
    try:
        wait_until(lambda: starts(following.output) == [live], 30)
        place.released(bake=0.01)
        wait_until(lambda: starts(following.output) == [live, live + 1], 30)
        assert not following.ended, "it ended with the container that was replaced"
    finally:
        following.kill()
    assert starts(following.output) == [live, live + 1]


def starts(output: str) -> list[int]:
    """The releases whose containers say that they start, each time they are shown to say so."""
    return [int(line.split()[2]) for line in output.splitlines() if line.endswith(" starting well")]


def test_a_service_that_has_no_container_is_said(place: Place) -> None:
    done = place.model_deploy("logs", "irsi")
    assert done.returncode == 2
    assert "no container of irsi is on this node" in done.stderr
    assert "next: model-deploy history irsi" in done.stderr
