"""Carries out the move of one VM from Google's container startup agent to ours, or takes it back."""

import logging
import time
from collections.abc import Callable, Mapping

from blocks.targets.compute_api import Conflict, Vm
from blocks.targets.compute_engine import ComputeEngineInstances
from releases import adoption, fleet, place
from releases.adoption import USER_DATA
from releases.container_declaration import KEY as DECLARATION
from releases.desired import ServiceDesired
from releases.node_boot import ADOPTED_KEY, DESIRED_KEY
from releases.problem import Failed, Problem, Refused, Unreachable
from releases.release import Release

UP_SECONDS = 300.0  # the restart, the agent's and the service's pull and start
POLL_SECONDS = 0.5
GONE_SECONDS = 30.0
SILENT_SECONDS = 3.0
ATTEMPTS = 5  # somebody else may write the metadata meanwhile

log = logging.getLogger("model_deploy.steps")


def find(target: ComputeEngineInstances, name: str) -> Vm:
    """The VM, seen to be one that can be moved, or that was left half-way. Raises Refused."""
    vm = target.vm(name)
    adoption.check_metadata(adoption.before(vm.metadata))
    return vm


def already_live(target: ComputeEngineInstances, vm: Vm, service: str) -> Release | None:
    """The release that serves where only the end of an adoption is missing. Raises Refused."""
    if ADOPTED_KEY not in vm.metadata:
        return None
    had = fleet.parse(adoption.before(vm.metadata).get(DESIRED_KEY, "")).services
    now = fleet.parse(vm.metadata.get(DESIRED_KEY, ""))
    others = sorted(name for name in set(now.services) - set(had) if name != service)
    if others:
        raise Refused(
            f"{vm.name} was about to be adopted as {others[0]}, not as {service}",
            next_step=f"the same again with --service {others[0]}",
        )
    release, status = now.of(service).confirmed, target.status_of(vm)
    if DECLARATION in vm.metadata or release is None or isinstance(status, str):
        return None
    part = status.services.get(service)
    return release if part is not None and part.live == release.number else None


def finish(target: ComputeEngineInstances, vm: Vm) -> None:
    """Forget what the VM was before: there is no way back from here but another release. Raises Problem."""
    _write(target, vm, lambda now: {key: now[key] for key in now if key != ADOPTED_KEY})


def free_port(target: ComputeEngineInstances, vm: Vm, service: str, wanted: int | None) -> int:
    """The service's port at the edge, which no other on this or the target's VMs has. Raises Refused."""
    port = target.service_port(service, wanted)
    there = place.taken(fleet.parse(vm.metadata.get(DESIRED_KEY, "")))  # the target may not know this VM yet
    return place.choose(service, port, (), target.ports, there)


def adopt(target: ComputeEngineInstances, vm: Vm, release: Release, user_data: str) -> None:
    """Add what is ours, take away the old key last, restart; what ends it early goes back. Raises Problem.

    The old key must be gone before the restart: both agents would want the same port. What was there is kept
    under a key of its own until `finish`, so that whoever dies here can begin again where he was.
    """
    before, told = adoption.before(vm.metadata), vm.metadata.get(DESIRED_KEY, "")
    # The node may remember an adoption that was taken back: each has a generation of its own.
    generation = max(fleet.parse(told).of(release.service).generation + 1, release.number)
    wanted = ServiceDesired(generation=generation, confirmed=release)
    after = {
        **vm.metadata,
        ADOPTED_KEY: adoption.kept(before),
        USER_DATA: user_data,
        DESIRED_KEY: fleet.document(told, release.service, wanted),
    }
    restarted = DECLARATION not in vm.metadata  # by the one who died here
    try:
        now = target.set_metadata(vm, after)
        now = target.set_metadata(now, {key: value for key, value in after.items() if key != DECLARATION})
        restarted = True
        target.carried_out(target.restart(now))
        _wait_for(target, now, release)
    except BaseException as error:  # Ctrl-C too: the VM serves nothing until it is back
        log.warning("taking %s back to what it ran before", vm.name)
        _take_back(target, vm, before, restart=restarted)
        if isinstance(error, Problem):
            error.what = f"the VM runs as before: {error.what}"
        raise


def _wait_for(target: ComputeEngineInstances, vm: Vm, release: Release) -> None:
    """Until the edge says that the release is live. Raises Failed, Unreachable."""
    deadline, seen = time.monotonic() + UP_SECONDS, ""
    while time.monotonic() < deadline:
        status = target.status_of(vm)
        if not isinstance(status, str):
            service = status.services.get(release.service)
            if service is not None and service.live == release.number:
                return
            if service is not None and service.failure is not None:
                raise Failed(f"{release.service} does not start: {service.failure.reason}", vm.id)
            seen = service.message if service else "the agent is there, the service is not yet"
        else:
            seen = status
        time.sleep(POLL_SECONDS)
    raise Unreachable(
        f"{release.service} is not live on {vm.name}", expected=f"within {UP_SECONDS:.0f} s", got=seen
    )


def _take_back(target: ComputeEngineInstances, vm: Vm, before: Mapping[str, str], *, restart: bool) -> None:
    """The metadata as it was, apart from what others have changed; another restart if there was one.

    First our agent is told to go and to take its containers along: the engine would start them at the boot,
    and the edge has the old container's port.
    """
    if restart:
        _write(target, vm, lambda now: {**now, DECLARATION: before[DECLARATION]})
        _wait_until_gone(target, vm)
    ours = {*adoption.OURS, ADOPTED_KEY}
    had = {key: value for key, value in before.items() if key in ours}
    now = _write(target, vm, lambda now: {**{key: now[key] for key in now if key not in ours}, **had})
    if restart:
        target.carried_out(target.restart(now))


def _write(target: ComputeEngineInstances, vm: Vm, make: Callable[[Mapping[str, str]], dict[str, str]]) -> Vm:
    """Change the metadata as it is now; again if somebody else did meanwhile. Raises Conflict."""
    for attempt in range(ATTEMPTS):
        now = target.vm(vm.name)
        wanted = make(now.metadata)
        try:
            return target.set_metadata(now, wanted) if wanted != now.metadata else now
        except Conflict:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt has returned or raised")


def _wait_until_gone(target: ComputeEngineInstances, vm: Vm) -> None:
    """Until the edge is silent; a moment longer, where the agent may be about to start it."""
    deadline, silent = time.monotonic() + GONE_SECONDS, 0.0
    while silent < SILENT_SECONDS:
        if time.monotonic() > deadline:
            log.warning(
                "the agent does not leave %s: docker rm --force there what is called model-deploy", vm.name
            )
            return
        silent = silent + POLL_SECONDS if isinstance(target.status_of(vm), str) else 0.0
        time.sleep(POLL_SECONDS)
