"""What a report's page says of requests."""

from datetime import UTC, datetime, timedelta

from blocks.service_facts import ServiceFacts
from flows.report_page import digest, page
from releases.dora import measure
from releases.edge_traffic import Tally

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def test_rate_errors_and_percentiles_stand_beside_each_release() -> None:
    slow, edge = Tally(service="iris", release=2), Tally(service="iris", release=0)
    for number in range(100):
        slow.add(NOW + timedelta(seconds=number), 500 if number < 3 else 200, 40 if number < 90 else 900)
    edge.add(NOW, 503, 0)
    dora = measure([], {}, NOW, NOW + timedelta(days=7))
    facts = [ServiceFacts("iris", [], dora, {2: slow, 0: edge})]
    html = page(facts, "local", NOW, NOW + timedelta(days=7))
    for cell in ("1.01/s", "3.00%", "41 ms", "926 ms", "the edge itself"):
        assert f">{cell}</td>" in html, html[-2000:]
    said = digest(facts, "local", NOW, NOW)
    assert "101 requests, 4 failed; p50 41 ms; p95 926 ms" in said
