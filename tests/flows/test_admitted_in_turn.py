"""What was admitted before the turn is admitted still when the turn comes."""

from pathlib import Path

import pytest
from prefect import flow

from blocks.environment import Environment
from flows import admission
from flows.admission import Admission, admitted
from releases.approval import Proposal
from releases.freeze import FreezeWindow, Frozen
from releases.gate import Finding
from releases.problem import Refused
from releases.rules import Rules
from tests.flows.test_reconcile_flow import environment, goes_live

pytestmark = pytest.mark.usefixtures("server")
GATE = "metrics.accuracy >= live"


def proposed(where: Environment) -> Proposal:
    """Of a model that is better than none, and worse than any that goes live."""
    entry = where.ledger("iris").live()
    finding = Finding(GATE, entry is None, "0.91, live 0.95" if entry else "0.91, nothing is live")
    return Proposal(
        service="iris",
        environment=where.name,
        version="abc",
        revision="a" * 40,
        image="",
        content="a" * 40,
        model=None,
        live=entry.release if entry else None,
        findings=(finding,),
    )


def test_a_model_that_is_worse_than_what_went_live_while_it_waited_does_not_pass(tmp_path: Path) -> None:
    where = environment(tmp_path / "models")

    def then_another_goes_live() -> Proposal:
        made = proposed(where)
        if made.live is None:
            goes_live(where, "b" * 40)
        return made

    @flow
    def release() -> None:
        with admitted(where, "iris", then_another_goes_live, ""):
            pytest.fail("it goes out though the gate forbids it")

    with pytest.raises(Refused, match="does not pass a gate") as refused:
        release()
    assert refused.value.got == "0.91, live 0.95"


def test_a_freeze_that_begins_while_a_release_waits_for_its_turn_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = environment(tmp_path / "models")

    def freeze_begins(*_: object) -> None:
        where.rules = Rules(freeze=(FreezeWindow(),))

    monkeypatch.setattr(admission, "settle_open_claims", freeze_begins)  # the first thing in the turn

    @flow
    def release(override: str) -> Admission:
        where.rules = Rules()
        with admitted(where, "iris", lambda: proposed(where), override) as found:
            return found

    with pytest.raises(Frozen):
        release("")
    assert release("urgent").freeze_override == "urgent", "and it is recorded"
