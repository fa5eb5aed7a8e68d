"""Which of the pushes that wait need no run of their own."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from releases.chain import Move, covered, move
from releases.trigger import Start

START = Start("iris", "local", "https://github.com/acme/models.git", "b", "", "main")
LANES = (("iris", "local"), ("rose", "local"))


def moves(*steps: str) -> list[Move | None]:
    """`ab` moves the branch from a to b, `ab!` may lead back."""
    return [Move(LANES[0], step[0], step[1], step.endswith("!")) for step in steps]


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        pytest.param(["ab", "bc", "cd"], {0: 2, 1: 2}, id="the last of a chain"),
        pytest.param(["cd", "ab", "bc"], {1: 0, 2: 0}, id="whichever came first"),
        pytest.param(["ab", "cd"], {}, id="one between them is not waiting"),
        pytest.param(["ab", "ac"], {}, id="two heads"),
        pytest.param(["xa", "ab", "ac"], {0: 2}, id="below two heads"),
        pytest.param(["ab", "ab"], {}, id="the same twice"),
        pytest.param(["ab", "ab", "bc"], {0: 2, 1: 2}, id="the same twice, and one on top"),
        pytest.param(["ab", "bc!"], {0: 1}, id="forced on top"),
        pytest.param(["ab!", "bc"], {}, id="what was forced has to be asked for anew"),
        pytest.param(["ab", "bc!", "cd"], {0: 1}, id="a forced one in the middle"),
        pytest.param(["xa", "ab", "ba!"], {}, id="back and forth"),
        pytest.param(["ab", "bc", "ca!", "cd"], {}, id="a circle with a way out"),
        pytest.param(["aa"], {}, id="nowhere"),
    ],
)
def test_what_needs_no_run(waiting: list[str], expected: dict[int, int]) -> None:
    assert covered(moves(*waiting)) == expected


def test_another_service_environment_or_branch_covers_nothing() -> None:
    below, top = move(START, "a"), replace(START, ref="c")
    assert covered([below, move(top, "b")]) == {0: 1}
    for change in ({"service": "rose"}, {"environment": "dev"}, {"branch": "dev"}, {"source": "elsewhere"}):
        assert covered([below, move(replace(top, **change), "b")]) == {}


def test_a_tag_moves_no_branch() -> None:
    assert move(replace(START, branch=""), "a") is None
    assert covered([move(START, "a"), None, move(replace(START, ref="c"), "b")]) == {0: 2}


COMMITS = st.sampled_from("abcdefgh")
ANY = st.lists(
    st.one_of(st.none(), st.builds(Move, st.sampled_from(LANES), COMMITS, COMMITS, st.booleans())),
    max_size=30,
)


def on_top_of(waiting: list[Move | None], at: int) -> set[int]:
    """Every move that came after this one, as far as befores and afters say."""
    found: set[int] = set()
    ends = [waiting[at]]
    while ends:
        end = ends.pop()
        for position, one in enumerate(waiting):
            follows = one and end and (one.lane, one.before) == (end.lane, end.after)
            if follows and position not in found:
                found.add(position)
                ends.append(one)
    return found


@given(ANY)
def test_every_one_is_written_or_covered_by_a_written_one_on_top_of_it(waiting: list[Move | None]) -> None:
    found = covered(waiting)
    for at, by in found.items():
        assert by not in found, "what covers it is not written itself"
        assert by in on_top_of(waiting, at)
        assert at not in on_top_of(waiting, by), "in a circle nobody knows which was the last"
        one = waiting[at]
        assert one
        assert not one.back


@given(ANY)
def test_what_nothing_covers_is_an_end_or_may_lead_back_or_leads_into_a_circle(
    waiting: list[Move | None],
) -> None:
    found = covered(waiting)
    for at, one in enumerate(waiting):
        if at in found or one is None or one.back:
            continue
        later = on_top_of(waiting, at)
        assert not later or any(other in on_top_of(waiting, other) for other in later)


@given(st.permutations(range(40)))
def test_a_chain_is_one_run_in_whatever_order_it_arrives(order: list[int]) -> None:
    found = covered([Move(LANES[0], str(number), str(number + 1), False) for number in order])
    assert set(found) == {at for at, number in enumerate(order) if number != 39}
    assert set(found.values()) == {order.index(39)}
