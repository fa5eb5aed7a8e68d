"""The swap's state machine against a made-up node on which anything may happen at any moment."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from releases import desired as desire
from releases import swap, swap_memory, swap_steps
from releases.desired import ServiceDesired
from releases.problem import Problem
from releases.release import Release, ReleasedModel
from releases.spec import Run
from releases.status import Failure, Phase
from releases.swap_memory import Clock, Container, Memory, Running, Slot

WINDOW = 10.0
REMEMBERED = TypeAdapter(Memory)  # as the agent keeps it on disk


def release(number: int, **run: object) -> Release:
    return Release(
        service="iris",
        environment="local",
        number=number,
        image=f"localhost:5000/iris@sha256:{number:064x}",
        version=str(number),
        port=8000,
        public_port=8080,
        model=ReleasedModel(name="iris", version=f"v{number}", sha256=f"{number:064x}"),
        run=Run.model_validate(run),
        confirm_window=WINDOW,
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )


@dataclass
class Node:
    """Carries out steps at once, on containers that are only data."""

    wanted: ServiceDesired = field(default_factory=ServiceDesired)
    memory: Memory = field(default_factory=Memory)
    seen: tuple[Container, ...] = ()
    images: frozenset[str] = frozenset()
    clock: Clock = field(default_factory=lambda: Clock(0.0, "boot-1"))
    broken: set[int] = field(default_factory=set)  # releases that never become ready
    corrupt: set[int] = field(default_factory=set)  # releases whose model is not what was published
    started: int = 0
    served: bool = False
    former: Release | None = None  # what was confirmed before the one that is

    def turn(self) -> swap_steps.Step:
        self.memory = swap.settle(self.wanted, self.memory, self.seen, self.clock)
        step = swap.next_step(self.wanted, self.memory, self.seen, self.images, self.clock)
        self.carry_out(step)
        return step

    def carry_out(self, step: swap_steps.Step) -> None:  # noqa: C901 - one case per kind of step
        match step:
            case swap_steps.Pull(wanted):
                self.images |= {wanted.image}
            case swap_steps.Fetch(wanted):
                self.fetch(wanted)
            case swap_steps.Start(wanted, slot):
                assert wanted.model_sha256 in {"", *self.images}, "nobody has looked at the model"
                self.images -= {wanted.model_sha256}
                assert all(container.slot is not slot for container in self.seen), "the slot is taken"
                self.started += 1
                new = Container(f"c{self.started}", wanted.fingerprint, wanted.number, slot, Running.running)
                self.seen += (new,)
            case swap_steps.Restart(container, _):
                self.change(container, state=Running.running)
            case swap_steps.Probe(container, wanted):
                self.probe(container, wanted)
            case swap_steps.Expose(container, wanted):
                args = (self.wanted.generation, container, wanted, self.clock)
                self.memory = swap_memory.exposed(self.memory, *args)
            case swap_steps.Switch(slot, traffic):
                self.memory = swap_memory.switched(self.memory, slot, traffic, self.clock)
            case swap_steps.Unroute():
                self.memory = swap_memory.unrouted(self.memory)
            case swap_steps.Drain(container):
                self.memory = swap_memory.drained(self.memory, container, self.clock)
            case swap_steps.Stop(container):
                self.change(container, state=Running.exited)
            case swap_steps.Remove(container):
                self.seen = tuple(one for one in self.seen if one.id != container.id)
                self.memory = swap_memory.removed(self.memory, container)
            case swap_steps.Rest():
                pass

    def fetch(self, wanted: Release) -> None:
        if wanted.number not in self.corrupt:
            self.images |= {wanted.model_sha256}
        else:
            self.fail(wanted, Phase.fetch)

    def probe(self, container: Container, wanted: Release) -> None:
        if wanted.number not in self.broken:
            self.memory = swap_memory.ready(self.memory, container)
        else:
            self.fail(wanted, Phase.probe)

    def fail(self, wanted: Release, phase: Phase) -> None:
        if self.wanted.candidate is not None and self.wanted.candidate.release == wanted:
            failure = Failure(phase=phase, reason="never healthy")
            self.memory = swap_memory.give_up(self.memory, self.wanted.generation, failure)
        else:
            self.memory = swap_memory.unfit(self.memory, wanted)

    def change(self, container: Container, **changes: object) -> None:
        self.seen = tuple(replace(one, **changes) if one.id == container.id else one for one in self.seen)

    def settle_down(self, turns: int = 60) -> Phase:
        for _ in range(turns):
            step = self.turn()
            if isinstance(step, swap_steps.Rest) and step.phase is not Phase.drain:
                return step.phase
        raise AssertionError(f"never comes to rest: {step}")

    def serving(self) -> Container | None:
        return next((one for one in self.seen if one.slot is self.memory.live), None)

    def assert_served(self) -> None:
        live = self.serving()
        up = live is not None and live.state is Running.running and live.id in self.memory.ready
        assert up or not self.served, f"nothing healthy behind the edge: {self}"
        self.served = self.served or up


def confirm_first(node: Node, **run: object) -> None:
    node.wanted = desire.propose(node.wanted, release(1, **run), "k")
    assert node.settle_down() is Phase.verify
    node.wanted = desire.shift(node.wanted, 1, 100)
    assert node.settle_down() is Phase.bake
    node.wanted = desire.confirm(node.wanted, 1)
    assert node.settle_down() is Phase.live


def node_on_trial(**run: object) -> Node:
    """Release 1 confirmed, release 2 switched and in its bake."""
    node = Node()
    confirm_first(node)
    node.wanted = desire.propose(node.wanted, release(2, **run), "k")
    assert node.settle_down() is Phase.verify
    node.wanted = desire.shift(node.wanted, node.wanted.generation, 100)
    assert node.settle_down() is Phase.bake
    return node


def live_number(node: Node) -> int | None:
    live = node.serving()
    return live.release if live else None


def test_a_candidate_is_verified_before_it_gets_traffic_and_the_old_one_stays_warm_in_the_bake() -> None:
    node = node_on_trial()
    assert live_number(node) == 2
    assert {one.release for one in node.seen if one.state is Running.running} == {1, 2}
    node.wanted = desire.confirm(node.wanted, 2)
    assert node.settle_down() is Phase.live
    assert [one.release for one in node.seen] == [2]


def test_a_revert_in_the_bake_is_one_switch() -> None:
    node = node_on_trial()
    node.wanted = desire.revert(node.wanted, 2)
    assert node.turn() == swap_steps.Switch(Slot.a, 100)
    assert node.settle_down() is Phase.live
    assert live_number(node) == 1


def test_a_window_that_is_renewed_is_counted_anew_but_not_one_that_is_over() -> None:
    node = node_on_trial()
    for _ in range(3):
        node.clock = Clock(node.clock.now + 0.8 * WINDOW, "boot-1")
        node.wanted = desire.renew(node.wanted, 2)
        assert node.settle_down() is Phase.bake
    assert live_number(node) == 2
    node.clock = Clock(node.clock.now + WINDOW + 0.1, "boot-1")
    node.wanted = desire.renew(node.wanted, 2)
    node.settle_down()
    assert live_number(node) == 1


def test_an_unconfirmed_candidate_is_reverted_at_its_deadline_and_a_late_confirm_is_refused() -> None:
    node = node_on_trial()
    node.clock = Clock(node.clock.now + WINDOW + 0.1, "boot-1")
    node.settle_down()
    assert live_number(node) == 1
    assert node.memory.reverted[2].reason == "not confirmed in time"
    node.wanted = desire.confirm(node.wanted, 2)
    node.settle_down()
    assert live_number(node) == 1
    assert node.memory.confirmed == release(1)


def test_a_reboot_before_the_confirm_reverts() -> None:
    node = node_on_trial()
    node.clock = Clock(0.0, "boot-2")
    node.settle_down()
    assert live_number(node) == 1


def test_a_candidate_that_crashes_in_the_bake_is_reverted() -> None:
    node = node_on_trial()
    node.change(
        next(one for one in node.seen if one.release == 2), state=Running.exited, exit_reason="code 3"
    )
    node.settle_down()
    assert live_number(node) == 1
    assert node.memory.reverted[2].reason == "the container exited: code 3"


def test_a_first_release_that_fails_leaves_nothing_running() -> None:
    node = Node(broken={1})
    node.wanted = desire.propose(node.wanted, release(1), "k")
    assert node.settle_down() is Phase.idle
    assert node.seen == ()


def test_a_new_node_starts_what_is_confirmed_before_it_tries_the_candidate() -> None:
    node = Node(wanted=desire.propose(ServiceDesired(generation=6, confirmed=release(1)), release(2), "k"))
    assert node.settle_down() is Phase.verify
    assert live_number(node) == 1


def test_a_candidate_may_replace_a_confirmed_release_that_does_not_start() -> None:
    node = Node(broken={1}, wanted=ServiceDesired(generation=6, confirmed=release(1)))
    node.turn(), node.turn(), node.turn()
    node.wanted = desire.shift(desire.propose(node.wanted, release(2), "k"), 7, 100)
    assert node.settle_down() is Phase.bake
    assert live_number(node) == 2


def test_a_corrupt_model_is_given_up_before_anything_of_the_old_release_is_touched() -> None:
    node = Node(corrupt={2})
    confirm_first(node, swap="replace")
    node.wanted = desire.propose(node.wanted, release(2, swap="replace"), "k")
    before = node.seen
    assert node.settle_down() is Phase.live
    assert node.seen == before
    assert node.memory.reverted[2].phase is Phase.fetch


def test_replace_stops_the_old_one_first_and_starts_it_again_when_the_new_one_fails() -> None:
    node = Node(broken={2})
    confirm_first(node, swap="replace")
    node.wanted = desire.propose(node.wanted, release(2, swap="replace"), "k")
    running = []
    for _ in range(40):
        node.turn()
        running.append(sum(one.state is Running.running for one in node.seen))
    assert max(running) == 1
    assert live_number(node) == 1
    assert node.settle_down() is Phase.live


def test_a_replaced_candidate_first_gives_the_traffic_back() -> None:
    node = node_on_trial()
    node.wanted = desire.propose(node.wanted, release(3), "k", reverted=True)
    assert node.turn() == swap_steps.Switch(Slot.a, 100)
    assert node.settle_down() is Phase.verify
    assert live_number(node) == 1
    assert {one.release for one in node.seen} == {1, 3}


EVENTS = st.sampled_from(
    [
        "turn",
        "turn",
        "turn",
        "propose",
        "propose broken",
        "propose corrupt",
        "half",
        "all",
        "confirm",
        "revert",
        "renew",
        "put back",
        "crash",
        "late",
        "reboot",
        "another agent",
    ]
)


@given(st.lists(EVENTS, max_size=120))
@settings(max_examples=400, deadline=None)
def test_once_something_healthy_serves_something_healthy_always_serves(events: list[str]) -> None:
    node = Node()
    for _ in lived_through(node, events, swap="overlap"):
        node.assert_served()


@given(st.lists(EVENTS, max_size=120))
@settings(max_examples=150, deadline=None)
def test_where_two_copies_do_not_fit_never_two_run_and_one_serves_in_the_end(events: list[str]) -> None:
    node = Node()
    for _ in lived_through(node, events, swap="replace"):
        assert sum(one.state is Running.running for one in node.seen) <= 1, node
    happen(node, "late", release(1))  # whatever is on trial is taken back
    node.settle_down()
    live = node.serving()
    assert live is not None
    assert (live.state, live.id in node.memory.ready) == (Running.running, True), node


def lived_through(node: Node, events: list[str], **run: object) -> Iterator[None]:
    """Yields after each event, and when all has come to rest."""
    confirm_first(node, **run)
    number = 1
    for event in events:
        if event.startswith("propose"):
            number += 1
            node.broken |= {number} if event == "propose broken" else set()
            node.corrupt |= {number} if event == "propose corrupt" else set()
        happen(node, event, release(number, **run))
        yield
    node.settle_down()
    yield
    assert len(node.seen) <= 2


def happen(node: Node, event: str, newest: Release) -> None:  # noqa: C901, PLR0912 - one case per kind
    generation, trial = node.wanted.generation, node.memory.trial
    try:
        match event:
            case "turn":
                node.turn()
            case "propose" | "propose broken" | "propose corrupt":
                over = generation in node.memory.reverted
                node.wanted = desire.propose(node.wanted, newest, "k", reverted=over)
            case "half" | "all":
                node.wanted = desire.shift(node.wanted, generation, 50 if event == "half" else 100)
            case "confirm":
                # A controller confirms only what the node has shown as switched.
                if trial is not None and trial.generation == generation and trial.traffic == 100:
                    node.former = node.wanted.confirmed
                    node.wanted = desire.confirm(node.wanted, generation)
            case "revert":
                node.wanted = desire.revert(node.wanted, generation)
            case "renew":
                node.wanted = desire.renew(node.wanted, generation)
            case "put back":
                node.wanted = desire.put_back(node.wanted, generation, node.former or node.wanted.confirmed)
            case "crash":
                crash(node)
            case "late":
                node.clock = Clock(node.clock.now + WINDOW + 1, node.clock.boot)
            case "reboot":
                # Docker's restart policy has brought the containers back before the agent looks.
                node.clock = Clock(0.0, node.clock.boot + "+")
            case "another agent":
                node.memory = REMEMBERED.validate_json(REMEMBERED.dump_json(node.memory))
                node.images = frozenset(one for one in node.images if "@" in one)  # no model was looked at
    except Problem:
        pass  # refused: the document stays as it was


def crash(node: Node) -> None:
    """The candidate's container ends by itself, which wakes the agent."""
    candidate = node.wanted.candidate
    for one in node.seen if candidate is not None else ():
        if one.release == candidate.release.number and one.state is Running.running:
            node.change(one, state=Running.exited, exit_reason="code 3")
            node.turn()
