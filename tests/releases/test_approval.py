"""What an approval is given for, and what makes it another question."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from releases.approval import SHOWN_COMMITS, Proposal, page
from releases.evidence import Proof
from releases.gate import Finding
from releases.release import Release, ReleasedModel
from releases.spec import Run

DIGEST = "sha256:" + "a" * 64


def release(number: int) -> Release:
    return Release(
        service="iris", environment="production", number=number, image=f"r/iris@{DIGEST}", version="old",
        port=80, public_port=8080, run=Run(), confirm_window=60, created=datetime.now(UTC),
    )  # fmt: skip


PROPOSAL = Proposal(
    service="iris",
    environment="production",
    version="new",
    revision="c0ffee",
    image=f"r/iris@{DIGEST}",
    content=DIGEST,
    model=ReleasedModel(name="iris", version="v2", sha256="b" * 64),
    live=release(3),
)


@pytest.mark.parametrize("change", [
    {"live": release(4)}, {"live": None}, {"content": "sha256:other"}, {"environment": "staging"},
    {"model": None}, {"model": ReleasedModel(name="iris", version="v2", sha256="c" * 64)},
])  # fmt: skip
def test_another_change_is_another_question(change: dict) -> None:
    assert replace(PROPOSAL, **change).key != PROPOSAL.key


def test_the_same_change_is_the_same_question_however_it_was_proven() -> None:
    proof = Proof(environment="staging", number=7, confirmed=datetime.now(UTC), checks={"right": 0.012})
    assert replace(PROPOSAL, proof=proof, commits=("one",)).key == PROPOSAL.key


def test_checks_that_nobody_asked_are_not_spoken_of_and_tests_are_counted() -> None:
    proof = Proof(environment="staging", number=7, confirmed=datetime.now(UTC), tests=41)
    shown = page(replace(PROPOSAL, proof=proof))
    assert "Proven in staging as release 7" in shown
    assert "UTC. 41 tests passed.\n" in shown
    assert "Smoke checks" not in shown


def test_the_page_says_what_would_change_and_what_speaks_for_it() -> None:
    proof = Proof(environment="staging", number=7, confirmed=datetime.now(UTC), checks={"right": 0.012})
    gate = Finding("metrics.accuracy >= live", holds=True, said="0.97 against 0.96")
    commits = tuple(f"commit {number}" for number in range(SHOWN_COMMITS + 3))
    shown = page(replace(PROPOSAL, proof=proof, findings=(gate,), commits=commits))
    for words in (
        "live now (release 3)", "| version | old | new |", "| model | — | iris v2 |", "commit 0", "and 3 more",
        "staging as release 7", "right: passed, p95 12 ms", "0.97 against 0.96", "void",
    ):  # fmt: skip
        assert words in shown
