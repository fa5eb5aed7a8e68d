"""The steps of a swap, as the state machine names them and the agent carries them out."""

from dataclasses import dataclass

from releases.release import Release
from releases.status import Phase
from releases.swap_memory import Container, Slot


@dataclass(frozen=True)
class Pull:
    """Get the image onto the node."""

    release: Release


@dataclass(frozen=True)
class Fetch:
    """Have the model on the node, every file verified now: before each start, not once and for all."""

    release: Release


@dataclass(frozen=True)
class Start:
    """Create and start a container for the release in the slot."""

    release: Release
    slot: Slot


@dataclass(frozen=True)
class Restart:
    """Start a container that exists."""

    container: Container
    release: Release


@dataclass(frozen=True)
class Probe:
    """Ask the container until it is ready; then `ready`, else `given_up`."""

    container: Container
    release: Release


@dataclass(frozen=True)
class Expose:
    """Let marked requests reach the slot, and nobody else; then `exposed`."""

    container: Container
    release: Release


@dataclass(frozen=True)
class Switch:
    """Send `traffic` per cent of the requests to the slot; then `switched`."""

    slot: Slot
    traffic: int


@dataclass(frozen=True)
class Unroute:
    """Nothing is to serve: take the live slot out of the edge; then `unrouted`."""


@dataclass(frozen=True)
class Drain:
    """Send the container no new requests; then `drained`, which starts its drain limit."""

    container: Container


@dataclass(frozen=True)
class Stop:
    """Stop the container, and keep it."""

    container: Container


@dataclass(frozen=True)
class Remove:
    """Stop and remove the container; then `removed`."""

    container: Container


@dataclass(frozen=True)
class Rest:
    """Nothing to do now; look again at a change, or in `seconds`."""

    phase: Phase
    seconds: float | None = None


Step = Pull | Fetch | Start | Restart | Probe | Expose | Switch | Unroute | Drain | Stop | Remove | Rest
