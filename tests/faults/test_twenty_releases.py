"""Zero failed requests over 20 whole releases, with slow ones in flight, keep-alive and not."""

import pytest

from deployments.load import Request, running
from tests.place import Place

pytestmark = pytest.mark.containers


@pytest.mark.timeout(600)
def test_no_request_fails_over_twenty_releases(place: Place) -> None:
    place.released()
    first = place.live()
    quick, slow = Request(place.port), Request(place.port, path="/slow")
    with (
        running(quick, rate=110, senders=4, keep_alive=True) as kept,
        running(quick, rate=110, senders=4, keep_alive=False) as fresh,
        running(slow, rate=2, senders=6, keep_alive=True) as long,
    ):
        for _ in range(20):
            done = place.model_deploy("release", ".")
            assert done.returncode == 0, done.stderr
    assert kept.failures + fresh.failures + long.failures == []
    assert place.live() == first + 20
    served = kept.releases | fresh.releases
    assert {str(first + number) for number in range(1, 21)} <= served, "a release met no request"
