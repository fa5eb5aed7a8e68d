"""Zero failed requests over 20 whole releases, with slow ones in flight, keep-alive and not."""

import sys
import time

import pytest

from deployments.load import Request, running
from tests.place import SPEC, Place

pytestmark = pytest.mark.containers

ASKED = 250  # requests a second, by both kinds of connection
LEAST = 200  # what is to come through; 250 did beside other work, with 9 waiting for 2 processors


@pytest.mark.timeout(600)
def test_no_request_fails_over_twenty_releases(place: Place) -> None:
    place.commit(spec=(SPEC % ("", 0, 30)).replace(", p95: 0.5", ""))  # not about latency
    assert place.model_deploy("release", ".").returncode == 0
    first = place.live()
    quick, slow = Request(place.port), Request(place.port, path="/slow")
    started = time.monotonic()
    with (
        running(quick, rate=ASKED / 2, senders=4, keep_alive=True) as kept,
        running(quick, rate=ASKED / 2, senders=4, keep_alive=False) as fresh,
        running(slow, rate=2, senders=6, keep_alive=True) as long,
        running(slow, rate=2, senders=6, keep_alive=False) as long_and_fresh,
    ):
        for _ in range(20):
            done = place.model_deploy("release", ".")
            assert done.returncode == 0, done.stderr
        rate = (kept.total + fresh.total) / (time.monotonic() - started)
    sys.stdout.write(f"{rate:.0f} requests a second, {long.total + long_and_fresh.total} slow ones\n")
    assert kept.failures + fresh.failures + long.failures + long_and_fresh.failures == []
    assert rate >= LEAST, "fewer requests met the releases than were to"
    assert long_and_fresh.total > 20, "slow requests by new connections were hardly sent"
    assert place.live() == first + 20
    served = kept.releases | fresh.releases
    assert {str(first + number) for number in range(1, 21)} <= served, "a release met no request"
