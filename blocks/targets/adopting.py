"""Carries out the move of one VM from Google's container startup agent to ours, or takes it back."""

import time
from collections.abc import Mapping

from blocks.targets.compute_api import Sent, Vm
from blocks.targets.compute_engine import ComputeEngineInstances
from releases import adoption, fleet
from releases.container_declaration import KEY as DECLARATION
from releases.desired import ServiceDesired
from releases.node_boot import DESIRED_KEY
from releases.problem import Failed, Problem, Unreachable
from releases.release import Release

USER_DATA = "user-data"
UP_SECONDS = 300.0  # the restart, the agent's and the service's pull and start
POLL_SECONDS = 0.5


def find(target: ComputeEngineInstances, name: str) -> Vm:
    """The VM, seen to be one that can be moved. Raises Refused."""
    vm = target.vm(name)
    adoption.check_metadata(vm.metadata)
    return vm


def adopt(target: ComputeEngineInstances, vm: Vm, release: Release, user_data: str) -> None:
    """Add what is ours, take away the old key last, restart; what does not come up goes back. Raises Problem.

    The old key must be gone before the restart: both agents would want the same port.
    """
    before = dict(vm.metadata)
    wanted = ServiceDesired(generation=1, confirmed=release)
    document = fleet.document(before.get(DESIRED_KEY, ""), release.service, wanted)
    after = {**before, USER_DATA: user_data, DESIRED_KEY: document}
    vm = target.set_metadata(vm, after)
    vm = target.set_metadata(vm, {key: value for key, value in after.items() if key != DECLARATION})
    try:
        target.carried_out(target.restart(vm))
        _wait_for(target, vm, release)
    except Problem as problem:
        _take_back(target, vm, before)
        problem.what = f"the VM runs as before: {problem.what}"
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


def _take_back(target: ComputeEngineInstances, vm: Vm, before: Mapping[str, str]) -> Sent:
    """The metadata as it was, and another restart."""
    vm = target.set_metadata(vm, before)
    sent = target.restart(vm)
    target.carried_out(sent)
    return sent
