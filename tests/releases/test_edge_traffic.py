"""Requests by release: as the edge counts them, and as a service's access log tells them."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from releases.access_line import count
from releases.edge_traffic import Tally
from releases.log_stream import Line

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


def tally(times: list[int]) -> Tally:
    made = Tally(service="iris", release=1)
    for number, milliseconds in enumerate(times):
        made.add(NOW + timedelta(seconds=number), 200, milliseconds)
    return made


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99, 1.0])
def test_percentiles_are_right_to_five_percent_also_of_several_nodes(share: float) -> None:
    dice = random.Random(3)
    times = sorted(round(dice.lognormvariate(3.5, 1)) + 1 for _ in range(5000))
    true = times[int(share * len(times)) - 1]
    whole = tally(times[::2])
    whole.add_all(Tally.model_validate_json(tally(times[1::2]).model_dump_json()))
    assert true <= (whole.milliseconds(share) or 0) * 1.0001 <= true * 1.06
    assert (whole.requests, whole.first, whole.last) == (5000, NOW, NOW + timedelta(seconds=2499))


def test_nothing_answered_has_no_percentile_and_a_millisecond_is_the_least() -> None:
    assert Tally(service="iris", release=1).milliseconds(0.5) is None
    assert tally([0, -1, 1]).milliseconds(0.99) == 1


def test_an_access_log_counts_by_release_and_says_no_times() -> None:
    def line(release: int, time: str, text: str) -> Line:
        return Line(f"2026-11-24T10:00:{time}.0Z", "c", "stdout", text, release)

    found = count(
        "iris",
        [
            line(1, "00", 'INFO: 172.31.0.3:5 - "POST /predict HTTP/1.1" 200 OK'),
            line(1, "10", 'INFO: 172.31.0.3:5 - "POST /predict HTTP/1.1" 503 Service'),
            line(1, "10", "loading the model"),
            line(2, "05", '1.2.3.4 - - [24/Nov/2026] "GET / HTTP/2" 404 12'),
        ],
    )
    assert (found[1].requests, found[1].errors, found[1].error_rate, found[1].per_second) == (2, 1, 0.5, 0.2)
    assert (found[2].requests, found[2].errors, found[2].milliseconds(0.5)) == (1, 0, None)
