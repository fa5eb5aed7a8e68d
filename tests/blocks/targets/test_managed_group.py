"""A managed instance group as a target, on the sandbox, with simulated agents."""

import pytest

from blocks.targets.managed_group import ManagedInstanceGroup
from releases.problem import Failed, Refused, Superseded
from releases.status import Phase
from sandbox.world import Settings
from tests.blocks.targets.conftest import KEY, SECONDS, Vms, is_in
from tests.sandbox.conftest import REGION, ZONE, eventually
from tests.sandbox.test_groups import Managed


def group(vms: Vms, size: int, *, regional: bool = False, kind: str = "OPPORTUNISTIC") -> Managed:
    made = Managed(vms.cloud, regional)
    made.create(size, kind)
    with vms.cloud.world.lock:
        for vm in vms.cloud.world.instances.values():
            vm.put_metadata({"model-deploy": ""})
    vms.names[:] = [link.rpartition("/")[2] for link in made.names()]
    eventually(lambda: all(name in vms.agents.of and vms.agents.of[name].edge for name in vms.names))
    return made


def target(vms: Vms, *, regional: bool = False, **fields: object) -> ManagedInstanceGroup:
    place = {"region": REGION} if regional else {"zone": ZONE}
    given = {"project": "sandbox", "group": "g", "ports": [vms.agents.port], "endpoint": vms.cloud.at.api}
    return ManagedInstanceGroup(**given, **place, access_token_file=vms.token, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("regional", [False, True])
def test_a_release_goes_through_the_group_in_waves_and_a_new_vm_boots_into_it(
    vms: Vms, regional: bool
) -> None:
    made = group(vms, 3, regional=regional)
    where = target(vms, regional=regional, max_unavailable=2)
    where.ensure_node()
    assert [len(wave.urls(80)) for wave in where.waves()] == [1, 2]
    vms.confirmed(where, 1)
    assert set(vms.live().values()) == {"1"}
    assert made.effective()
    vms.cloud.done(made.client.resize_unary(**made.it, size=4))
    eventually(lambda: made.stable() and len(made.names()) == 4)
    vms.names[:] = [link.rpartition("/")[2] for link in made.names()]
    eventually(lambda: all(name in vms.agents.of for name in vms.names))
    eventually(lambda: set(vms.live().values()) == {"1"})


def test_a_vm_of_the_group_that_fails_takes_all_back(vms: Vms) -> None:
    made = group(vms, 2)
    where = target(vms)
    vms.confirmed(where, 1)
    last = max(vms.names)
    vms.agents.breaks(last, 2)
    with pytest.raises(Failed, match="exit code 3"):
        vms.on_trial(where, 2)
    assert set(vms.live().values()) == {"1", "2"}
    back = where.revert("iris", where.desired("iris").generation)
    where.wait_for("iris", back, is_in(Phase.live), SECONDS)
    assert set(vms.live().values()) == {"1"}
    assert made.effective()


def test_what_others_configured_in_the_group_stays(vms: Vms) -> None:
    made = group(vms, 1)
    made.want(theirs="kept")
    vms.confirmed(target(vms), 1)
    properties = made.get().all_instances_config.properties
    assert properties.metadata["theirs"] == "kept"
    assert dict(properties.labels) == {"group": "g"}


def test_a_stale_writer_of_a_group_is_refused(vms: Vms) -> None:  # FAULTS row 24
    group(vms, 1)
    mine, theirs = target(vms), target(vms)
    generation = vms.on_trial(mine, 1)
    theirs.revert("iris", generation)
    with pytest.raises(Superseded):
        mine.confirm("iris", generation)


def test_a_group_that_rolls_by_itself_is_refused(vms: Vms) -> None:
    group(vms, 1, kind="PROACTIVE")
    with pytest.raises(Refused, match="rolls changes out by itself") as refused:
        target(vms).ensure_node()
    assert "--update-policy-type=opportunistic" in refused.value.next_step


def test_a_rollback_of_a_group_goes_on_without_a_vm_that_is_off_which_finds_it_when_it_starts(
    vms: Vms,
) -> None:
    group(vms, 3)
    vms.confirmed(target(vms), 2)
    off = min(vms.names)
    power(vms, off, "stop", "TERMINATED")
    vms.names.remove(off)
    where = target(vms)
    with pytest.raises(Refused, match=f"{off} is not running") as refused:
        where.ensure_node()
    assert f"list-instances g --zone={ZONE}" in refused.value.next_step
    where.ensure_node(going_back=True)
    former = vms.release(3).model_copy(update={"restores": 1})
    generation = 0
    for wave in where.waves():
        generation = wave.propose(former, KEY)
        wave.wait_for("iris", generation, is_in(Phase.verify), SECONDS)
        wave.shift("iris", generation, 100)
    where.confirm("iris", generation)
    where.wait_for("iris", generation, lambda one: one.confirmed_generation == generation, SECONDS)
    assert set(vms.live().values()) == {"3"}
    power(vms, off, "start", "RUNNING")
    vms.names.append(off)
    eventually(lambda: off in vms.agents.of and vms.agents.of[off].edge)
    eventually(lambda: vms.live()[off] == "3")


def power(vms: Vms, name: str, what: str, then: str) -> None:
    vms.cloud.call("POST", f"/compute/v1/projects/sandbox/zones/{ZONE}/instances/{name}/{what}")
    eventually(lambda: vms.cloud.world.instances["sandbox", ZONE, name].status == then)


def test_a_vm_that_the_group_adds_in_mid_release_does_not_stop_it(vms: Vms) -> None:
    made = group(vms, 2)
    where = target(vms)
    first, second = where.waves()
    first.propose(vms.release(1), KEY)
    vms.cloud.done(made.client.resize_unary(**made.it, size=3))
    eventually(lambda: made.stable() and len(made.names()) == 3)
    (added,) = {link.rpartition("/")[2] for link in made.names()} - set(vms.names)
    vms.cloud.world.instances["sandbox", ZONE, added].resource["status"] = "STAGING"
    where._known.read_at = float("-inf")
    assert second.propose(vms.release(1), KEY) == 1


def test_a_group_without_external_addresses_is_asked_at_its_internal_ones(vms: Vms) -> None:
    group(vms, 1)
    where, (vm,) = target(vms, address="external"), vms.cloud.world.instances.values()
    where.ensure_node()
    assert where.urls(80) == [f"http://{vm.address}"]


def test_an_operation_of_the_group_that_fails_is_named(vms: Vms) -> None:
    group(vms, 1)
    where = target(vms)
    where.ensure_node()
    vms.cloud.fault("operation_error", method="PATCH", code="QUOTA_EXCEEDED", message="Quota 'X' exceeded")
    with pytest.raises(Failed, match="the quota X is used up"):
        where.propose(vms.release(1), KEY)


def test_an_operation_of_the_group_that_takes_longer_than_a_call_may_is_waited_for(
    vms: Vms, monkeypatch: pytest.MonkeyPatch
) -> None:
    group(vms, 1)
    where = target(vms)
    where.ensure_node()
    monkeypatch.setattr("blocks.targets.compute_api.CALL_SECONDS", 0.6)
    monkeypatch.setattr("blocks.targets.compute_api.RETRY_SECONDS", 0.6)
    slow = Settings(pending_seconds=0.01, running_seconds=1.5)
    object.__setattr__(vms.cloud.world, "settings", slow)
    assert where.propose(vms.release(1), KEY) == 1
