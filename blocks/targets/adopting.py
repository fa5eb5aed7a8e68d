"""Carries out the move of one VM from Google's container startup agent to ours, or takes it back."""

import logging
import time
from collections.abc import Mapping

from blocks.targets.compute_api import Conflict, Vm
from blocks.targets.compute_engine import ComputeEngineInstances
from releases import adoption, fleet, place
from releases.container_declaration import KEY as DECLARATION
from releases.desired import ServiceDesired
from releases.node_boot import DESIRED_KEY
from releases.problem import Failed, Problem, Unreachable
from releases.release import Release

USER_DATA = "user-data"
UP_SECONDS = 300.0  # the restart, the agent's and the service's pull and start
POLL_SECONDS = 0.5
ATTEMPTS = 5  # somebody else may write the metadata meanwhile

log = logging.getLogger("model_deploy.steps")


def find(target: ComputeEngineInstances, name: str) -> Vm:
    """The VM, seen to be one that can be moved. Raises Refused."""
    vm = target.vm(name)
    adoption.check_metadata(vm.metadata)
    return vm


def free_port(target: ComputeEngineInstances, vm: Vm, service: str, wanted: int | None) -> int:
    """The service's port at the edge, which no other on this or the target's VMs has. Raises Refused."""
    port = target.service_port(service, wanted)
    there = place.taken(fleet.parse(vm.metadata.get(DESIRED_KEY, "")))  # the target may not know this VM yet
    return place.choose(service, port, (), target.ports, there)


def adopt(target: ComputeEngineInstances, vm: Vm, release: Release, user_data: str) -> None:
    """Add what is ours, take away the old key last, restart; what ends it early goes back. Raises Problem.

    The old key must be gone before the restart: both agents would want the same port.
    """
    before = dict(vm.metadata)
    told = fleet.parse(before.get(DESIRED_KEY, "")).of(release.service)
    wanted = ServiceDesired(generation=told.generation + 1, confirmed=release)
    document = fleet.document(before.get(DESIRED_KEY, ""), release.service, wanted)
    after = {**before, USER_DATA: user_data, DESIRED_KEY: document}
    restarted = False
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
    """The metadata as it was, apart from what others have changed; another restart if there was one."""
    ours = {USER_DATA, DESIRED_KEY, DECLARATION}
    for attempt in range(ATTEMPTS):
        now = target.vm(vm.name)
        theirs = {key: value for key, value in now.metadata.items() if key not in ours}
        wanted = {**theirs, **{key: value for key, value in before.items() if key in ours}}
        try:
            if wanted != now.metadata:
                now = target.set_metadata(now, wanted)
        except Conflict:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        break
    if restart:
        target.carried_out(target.restart(now))
