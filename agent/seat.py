"""How the edge should serve a service: from what is wanted, seen and remembered."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent import haproxy
from agent.engine import Addresses
from agent.haproxy import Limits
from releases import place
from releases.desired import ServiceDesired
from releases.place import Place
from releases.release import Release
from releases.swap_memory import WHOLE, Container, Memory, Slot, Trial


@dataclass(frozen=True)
class Seat:
    """A service's place in HAProxy's configuration, and its two addresses on the node's network."""

    number: int
    addresses: Addresses

    def serving(
        self, service: str, wanted: ServiceDesired, memory: Memory, seen: Sequence[Container]
    ) -> haproxy.Service:
        """The service as the edge should have it."""
        trial = memory.trial
        on_trial = next((one.slot for one in seen if trial and one.id == trial.container), None)
        shares = haproxy.weights(memory.live, on_trial, trial.traffic if trial else 0)
        coming = None if wanted.generation in memory.reverted else candidate_of(wanted)
        reference = (trial.release if trial else None) or memory.confirmed or coming
        limits = _limits(trial, memory.confirmed or coming)
        key = wanted.candidate.key_sha256 if wanted.candidate else ""

        def server(slot: Slot) -> haproxy.Server:
            number = next((one.release for one in seen if one.slot is slot), None)
            port = _port(slot, on_trial, memory, reference)
            marked = key if trial and slot is on_trial else ""
            own = haproxy.limits_of(trial.release) if trial and marked else limits
            return haproxy.Server(self.addresses.of(slot), port, shares[slot], number, marked, own)

        places = places_of(memory.confirmed, reference)
        return haproxy.Service(service, self.number, places, limits, server(Slot.a), server(Slot.b))


def candidate_of(wanted: ServiceDesired) -> Release | None:
    """The release that is wanted on trial."""
    return wanted.candidate.release if wanted.candidate else None


def places_of(confirmed: Release | None, other: Release | None) -> tuple[Place, ...]:
    """Where it is found: what is confirmed keeps its names until what is on trial has taken its place."""
    shown = [one for one in (confirmed, other) if one is not None]
    return tuple({place.of(one): None for one in shown})


def _limits(trial: Trial | None, former: Release | None) -> Limits:
    """What holds for users: the confirmed release's until all of them meet the one on trial."""
    if former is None:
        return haproxy.limits_of(trial.release) if trial else Limits()
    if trial is None or trial.traffic == 0:
        return haproxy.limits_of(former)
    new = haproxy.limits_of(trial.release)
    return new if trial.traffic == WHOLE else new.looser(haproxy.limits_of(former))


def _port(slot: Slot, on_trial: Slot | None, memory: Memory, reference: Release | None) -> int:
    if memory.trial is not None and slot is on_trial:
        return memory.trial.release.port
    if memory.confirmed is not None:
        return memory.confirmed.port
    return reference.port if reference else 1
