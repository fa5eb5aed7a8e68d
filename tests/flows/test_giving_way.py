"""One release at a time, and of those that wait only the newest."""

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Running

from blocks.pushed_runs import tags_of
from flows.turn import turn
from releases.problem import Superseded

pytestmark = pytest.mark.usefixtures("server")


def test_a_run_whose_turn_comes_gives_way_to_a_newer_one_that_waits() -> None:
    went_on: list[str] = []

    @flow
    def older() -> None:
        with get_client(sync_client=True) as client:
            client.create_flow_run(older, tags=tags_of("iris", "staging"), state=Running())
        with turn("iris", "staging", "the older one"):
            went_on.append("older")

    @flow
    def newest() -> None:
        with turn("iris", "staging", "the newest one"):
            went_on.append("newest")

    with pytest.raises(Superseded, match="a newer release"):
        older()
    newest()  # at once: the place is free again
    assert went_on == ["newest"]
