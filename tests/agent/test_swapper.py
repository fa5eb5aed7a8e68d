"""The agent's swap on a node that is only data: killed at everything it touches; its limits; what it says."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from agent import haproxy
from agent.haproxy import Limits
from agent.swapper import Swapper
from releases import desired as desire
from releases.desired import ServiceDesired
from releases.release import Release
from releases.status import Phase, ServiceStatus
from releases.swap_memory import Running, Slot
from tests.agent.made_up_node import Killed, World
from tests.releases.test_swap import release

ALL_THE_WAY = {
    Phase.pull,
    Phase.fetch,
    Phase.start,
    Phase.probe,
    Phase.verify,
    Phase.switch,
    Phase.bake,
    Phase.drain,
    Phase.live,
}

AT_REST = {Phase.live, Phase.drain, Phase.idle, Phase.reverted}  # as flows/deploying.py reads it


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Every container that runs is ready at once."""
    monkeypatch.setattr("agent.swapper.probe.wait_until_ready", lambda *_, **__: None)
    return World(tmp_path)


def propose(world: World, number: int, **run: object) -> None:
    world.wanted = desire.propose(world.wanted, release(number, **run), "key")


def finish(world: World, agent: Swapper | None = None) -> Swapper:
    """As a controller does, going on from wherever the node says it is, until the release is confirmed."""
    generation = world.wanted.generation

    def over(status: ServiceStatus) -> bool:
        if status.generation == generation and world.wanted.candidate:
            if status.phase is Phase.verify:
                world.wanted = desire.shift(world.wanted, generation, 100)
            elif status.phase is Phase.bake:
                world.wanted = desire.confirm(world.wanted, generation)
        return status.phase is Phase.live and status.confirmed_generation == generation

    return world.turns(over, agent)


@pytest.mark.fault(18)
@pytest.mark.parametrize("done_all_the_same", [False, True])
@pytest.mark.parametrize("swap", ["overlap", "replace"])
def test_an_agent_killed_at_anything_it_touches_goes_on_where_it_was(
    world: World, tmp_path: Path, swap: str, done_all_the_same: bool
) -> None:
    killed_in, dies_at = set[Phase](), 0
    while True:
        world = World(tmp_path / f"{dies_at}")
        world.folder.mkdir()
        propose(world, 1)
        agent = finish(world)
        propose(world, 2, swap=swap)
        world.gap = swap == "replace"
        world.dies_at, world.dies_after = len(world.touched) + dies_at, done_all_the_same
        try:
            finish(world, agent)
            break  # it touches no more than that
        except Killed:
            killed_in.add(world.status.phase)
        finish(world)
        assert (world.live(), len(world.seen)) == (2, 1), world.touched
        dies_at += 1
    assert killed_in == ALL_THE_WAY - {Phase.verify, Phase.bake}, "those wait: nothing is touched in them"


def test_a_release_that_is_taken_back_while_its_image_is_pulled_holds_nothing_up(world: World) -> None:
    propose(world, 1)
    agent = finish(world)

    def take_back() -> None:
        world.wanted = desire.revert(world.wanted, world.wanted.generation)

    before, world.while_pulling = set(world.here), take_back
    propose(world, 2)
    world.turns(lambda status: status.generation == world.wanted.generation, agent)
    assert world.status.phase is Phase.live
    assert world.here == before, "it was pulled to the end"


def test_the_live_releases_limits_hold_until_it_has_no_more_traffic(world: World) -> None:
    def limits(key: str) -> tuple[str, str]:
        assert world.told is not None
        maps = haproxy.maps([world.told])
        return maps["timeouts.map"].get(key, ""), maps["bodies.map"].get(key, "")

    def shifted(traffic: int) -> None:
        world.wanted = desire.shift(world.wanted, world.wanted.generation, traffic)
        world.turns(lambda status: status.traffic == traffic and status.phase is Phase.bake, agent)

    propose(world, 1, limits={"request_timeout": 60, "max_body": "2k"})
    agent = finish(world)
    propose(world, 2, limits={"request_timeout": 1, "max_body": "4k"})
    world.turns(lambda status: status.phase is Phase.verify, agent)
    backend = world.told.backend if world.told else ""
    assert limits(backend) == ("60000", "2048"), "users got the candidate's"
    assert limits(f"{backend}/{Slot.b}") == ("1000", "4096"), "a smoke test is to meet the candidate's own"
    shifted(50)
    assert limits(backend) == ("60000", "4096"), "the looser of both: either may be asked"
    shifted(100)
    assert limits(backend) == ("1000", "4096")
    world.wanted = desire.revert(world.wanted, world.wanted.generation)
    world.turns(lambda status: status.phase is Phase.live, agent)
    assert limits(backend) == ("60000", "2048")


def test_a_release_is_not_said_to_be_taken_back_while_the_edge_cannot_be_told(world: World) -> None:
    propose(world, 1)
    agent = finish(world)
    propose(world, 2)
    generation = world.wanted.generation
    world.turns(lambda status: status.phase is Phase.verify, agent)
    world.wanted = desire.shift(world.wanted, generation, 100)
    world.turns(lambda status: status.phase is Phase.bake, agent)
    world.wanted = desire.revert(world.wanted, generation)
    world.edge_away = True
    for restarted in (agent, world.agent()):
        restarted.wake = MagicMock()
        restarted.wake.wait.side_effect = [None, Killed]
        with pytest.raises(Killed):
            restarted.run()
        assert world.live() == 2
        assert "does not answer" in world.status.message
        done = world.status.generation > generation and world.status.phase in AT_REST
        assert not done, "a controller would take it for done"
    world.edge_away = False
    world.turns(lambda status: status.generation > generation and status.phase is Phase.live, restarted)
    assert world.live() == 1


def test_a_node_that_took_a_release_back_just_before_it_was_confirmed_has_not_been_changed_by_hand(
    world: World,
) -> None:
    propose(world, 1)
    agent = finish(world)
    propose(world, 2)
    generation = world.wanted.generation
    world.turns(lambda status: status.phase is Phase.verify, agent)
    world.seen = tuple(replace(one, state=Running.exited) if one.release == 2 else one for one in world.seen)
    world.turns(lambda status: generation in status.reverted, agent)
    world.wanted = desire.confirm(world.wanted, generation)
    world.turns(lambda status: status.phase is Phase.reverted and len(world.seen) == 1, agent)
    agent.turn()
    assert (world.live(), world.status.changed) == (1, "")
    assert set(world.kept) == {release(1).image}, "the one to go back to"


def secured(number: int, secret: str) -> Release:
    return release(number, hosts={"local": {"names": ["iris.test"], "certificate": secret}})


def test_a_new_node_has_the_certificates_of_what_is_confirmed_and_of_the_candidate(world: World) -> None:
    world.wanted = ServiceDesired(generation=4, confirmed=secured(1, "old"))
    world.wanted = desire.propose(world.wanted, secured(2, "new"), "key")
    world.turns(lambda status: status.phase is Phase.verify)
    assert world.live() == 1
    started = [what for _, what in world.touched if what == "create" or what.startswith("certificate")]
    assert started == ["certificate old", "create", "certificate new", "create"]


def test_a_secret_that_is_away_keeps_nothing_confirmed_from_starting_and_refuses_a_candidate(
    world: World,
) -> None:
    world.secrets_away = True
    world.wanted = ServiceDesired(generation=4, confirmed=secured(1, "old"))
    agent = world.turns(lambda status: status.phase is Phase.live)
    assert world.live() == 1
    world.wanted = desire.propose(world.wanted, secured(2, "new"), "key")
    world.turns(lambda status: status.phase is Phase.reverted, agent)
    assert world.status.failure is not None
    assert world.status.failure.reason == "the secret is not on this node"
    assert world.live() == 1


def test_without_a_size_limit_on_one_side_a_canary_has_none() -> None:
    assert Limits(5, "1k").looser(Limits(3, None)) == Limits(5, None)


def test_a_container_that_ends_before_anybody_looks_is_given_up_with_its_last_words(world: World) -> None:
    propose(world, 1)
    agent = finish(world)
    world.exits, world.says = "exit code 1", ("no such file: weights.bin",)
    propose(world, 2, health={"timeout": 7})
    world.turns(lambda status: 2 in status.reverted, agent)
    failure = world.status.reverted[2]
    assert failure.reason == "the container exited before it was ready: exit code 1"
    assert failure.log_tail == world.says
    assert (failure.elapsed, failure.limit) == (0.2, 7)
    assert world.live() == 1
