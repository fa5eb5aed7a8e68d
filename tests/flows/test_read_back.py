"""After a release: its lines are read back as one stream, and the report knows it."""

import re

import pytest

from tests.place import Place

pytestmark = pytest.mark.containers


def test_a_release_is_in_the_logs_and_in_the_report(place: Place) -> None:
    place.released()
    number = place.live()
    logs = place.model_deploy("logs", "sample", "--since", "1h", "--grep", "starting well")
    assert logs.returncode == 0, logs.stderr
    own = [line for line in logs.stdout.splitlines() if f" release {number} " in line]
    assert len(own) == 1, logs.stdout
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z release \d+ [0-9a-f]{12} starting well$", own[0])
    told = place.model_deploy("report", "sample", "--days", "1")
    assert told.returncode == 0, told.stderr
    assert re.search(r"deployments [1-9]\d* \(", told.stdout), told.stdout
    assert re.search(r"lead time from commit to live \d", told.stdout), told.stdout
    nowhere = place.model_deploy("collect", "nothing")
    assert nowhere.returncode == 2
    assert "there is no source nothing" in nowhere.stderr
