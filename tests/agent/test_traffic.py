"""The agent counts what the edge answers, whatever happens to agent and store."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.answer_times import AnswerTimes
from agent.logs.folder import Folder
from agent.traffic import Traffic
from blocks.service_facts import gather
from blocks.store import DirectoryStore
from releases.problem import Unreachable

NOW = datetime.now(UTC).replace(minute=20) - timedelta(hours=2)
OVER = NOW + timedelta(hours=1)


def traffic(tmp_path: Path, node: str = "n1", store: object = None) -> Traffic:
    places: Any = store or Folder(tmp_path / "store")
    return Traffic(node, tmp_path / node, lambda _: "local", places, AnswerTimes())


def reported(tmp_path: Path) -> dict[int, tuple[int, int, int]]:
    """As the report has it: release → requests, errors, p95."""
    store = DirectoryStore(path=tmp_path / "store")
    facts = gather(store, "iris", "local", NOW - timedelta(days=1), datetime.now(UTC), {})
    return {
        release: (one.requests, one.errors, round(one.milliseconds(0.95) or 0))
        for release, one in facts.traffic.items()
    }


def test_hours_of_several_nodes_come_out_by_release(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    for node in ("n1", "n2"):
        made = traffic(tmp_path, node)
        for number in range(100):
            made.take(f"iris 3 {500 if number == 0 else 200} {number + 1}", NOW)
        made.take("iris - 503 0", NOW)
        made.take("other 1 200 5", NOW)
        made.take("nonsense", NOW)
        made.take("- - 421 0", NOW)
        made.save(NOW)
        assert not list((tmp_path / "store").rglob("part-*.zst")) or node == "n2"
        made.save(OVER)
        assert not made.hours
    found = reported(tmp_path)
    assert set(found) == {0, 3}
    assert found[3][:2] == (200, 2)
    assert 95 <= found[3][2] <= 100
    assert found[0][:2] == (2, 2)


def test_releases_side_by_side_are_timed_since_the_candidate_was_ready(tmp_path: Path) -> None:
    made = traffic(tmp_path)
    made.take("iris 3 200 9000", NOW)
    made.times.anew("iris")
    for number in range(100):
        made.take(f"iris 3 200 {100 if number < 96 else 5000}", NOW)
        made.take(f"iris 4 200 {10 if number < 94 else 5000}", NOW)  # whose mean is no worse
    assert 100 <= made.times.p95("iris", 3) <= 106
    assert 5000 <= made.times.p95("iris", 4) <= 5251
    assert made.times.p95("iris", 5) == made.times.p95("rose", 3) == 0


def test_an_agent_that_is_killed_goes_on_and_counts_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    made = traffic(tmp_path)
    made.take("iris 3 200 10", NOW)
    made.save(NOW)
    again = traffic(tmp_path)
    again.take("iris 3 200 10", NOW)
    again.save(NOW)
    (file,) = (tmp_path / "n1").iterdir()
    before = file.read_bytes()
    again.save(OVER)
    file.write_bytes(before)  # killed before it was removed
    traffic(tmp_path).save(OVER)
    assert reported(tmp_path)[3][:2] == (2, 0)


def test_an_hour_waits_for_a_store_that_does_not_answer(tmp_path: Path) -> None:
    class Silent:
        def upload(self, key: str, file: Path) -> str:
            raise Unreachable("503")

    (tmp_path / "store").mkdir()
    made = traffic(tmp_path, store=Silent())
    made.take("iris 3 200 10", NOW)
    made.save(NOW)
    with pytest.raises(Unreachable):
        made.save(OVER)
    traffic(tmp_path).save(OVER)
    assert reported(tmp_path)[3][:2] == (1, 0)
