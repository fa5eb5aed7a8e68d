"""VMs with Google's container startup agent: released to by a restart, as update-container did."""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from blocks.targets import adopting
from blocks.targets.compute_api import Vm
from blocks.targets.container_declaration import BEFORE, ContainerDeclaration
from releases import adoption
from releases.problem import Refused, Unreachable
from releases.release import Release, ReleasedModel
from releases.status import Phase
from tests.blocks.targets.conftest import KEY, SECONDS, Vms, is_in, running_vms
from tests.blocks.targets.konlet import Boots
from tests.sandbox.conftest import ZONE, eventually

DECLARED = """
spec:
  containers:
  - name: iris
    image: gcr.io/acme/iris:1
    env: [{name: MODE, value: fast}]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, hostPath: {path: /mnt/data}}]
  restartPolicy: Always
"""


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


@pytest.fixture
def vms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vms]:
    monkeypatch.setattr(adopting, "SILENT_SECONDS", 0.5)
    with running_vms(tmp_path, Boots) as made:
        yield made


def old_vm(vms: Vms, name: str, declaration: str = DECLARED) -> None:
    vms.cloud.vm(name, labels={"service": "iris"}, metadata=declared(declaration))
    vms.names.append(name)
    eventually(lambda: name in vms.boots.old)


def declared(declaration: str) -> object:
    from google.cloud import compute_v1 as compute

    return compute.Metadata(items=[compute.Items(key="gce-container-declaration", value=declaration)])


def target(vms: Vms) -> ContainerDeclaration:
    found = vms.target()
    given = {**found.model_dump(exclude={"type", "block_type_slug"}), "start_seconds": SECONDS}
    return ContainerDeclaration.model_validate(given)


def answering(vms: Vms, name: str) -> str:
    return httpx.get(f"http://{address(vms, name)}:{vms.agents.port}/").text


def address(vms: Vms, name: str) -> str:
    return vms.cloud.world.instances["sandbox", ZONE, name].address


def plain(release: Release) -> Release:
    """With the model in the image: a declaration has no place for one."""
    return release.model_copy(update={"model": None})


def on_trial(vms: Vms, where: ContainerDeclaration, number: int) -> int:
    env = {"MODE": "new", "ENVIRONMENT": "prod"}
    release = plain(vms.release(number, env=env)).model_copy(update={"port": vms.agents.port})
    generation = where.propose(release, KEY)
    where.wait_for("iris", generation, is_in(Phase.verify), SECONDS)
    where.shift("iris", generation, 100)
    return generation


def test_a_release_restarts_the_vm_with_the_new_image_and_back(
    vms: Vms, caplog: pytest.LogCaptureFixture
) -> None:
    old_vm(vms, "a")
    where = target(vms)
    with caplog.at_level(logging.WARNING, "model_deploy.steps"):
        where.ensure_node()
    assert "2026-07-31" in caplog.text
    assert "2027-07-31" in caplog.text
    generation = on_trial(vms, where, 1)
    where.wait_for("iris", generation, is_in(Phase.bake), SECONDS)
    assert answering(vms, "a") == vms.release(1).image
    metadata = vms.cloud.world.instances["sandbox", ZONE, "a"].metadata()
    container = yaml.safe_load(metadata["gce-container-declaration"])["spec"]["containers"][0]
    assert {"name": "MODE", "value": "new"} in container["env"]
    assert {"name": "ENVIRONMENT", "value": "prod"} in container["env"]  # as the agent has it
    assert container["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
    assert container["name"] == "iris.local.1"  # so its entries in Cloud Logging say whose they are
    assert where.cloud_logging.project == vms.cloud.project
    back = where.revert("iris", generation)
    where.wait_for("iris", back, is_in(Phase.idle), SECONDS)
    assert answering(vms, "a") == "gcr.io/acme/iris:1"
    assert vms.boots.boots == ["a", "a", "a"]


def confirmed(vms: Vms, where: ContainerDeclaration, number: int) -> None:
    generation = on_trial(vms, where, number)
    where.wait_for("iris", generation, is_in(Phase.bake), SECONDS)
    where.confirm("iris", generation)


def test_a_release_that_fails_brings_back_the_one_before_it_and_not_the_very_first(vms: Vms) -> None:
    old_vm(vms, "a")
    where = target(vms)
    confirmed(vms, where, 1)
    vms.boots.broken.add(vms.release(2).image)
    back = where.revert("iris", on_trial(vms, where, 2))
    where.wait_for("iris", back, is_in(Phase.live), SECONDS)
    assert answering(vms, "a") == vms.release(1).image


def test_a_release_is_taken_back_on_a_vm_that_an_older_version_has_released_to(vms: Vms) -> None:
    old_vm(vms, "a")
    where = target(vms)
    confirmed(vms, where, 1)
    generation = on_trial(vms, where, 2)
    vms.edit("a", **{BEFORE: DECLARED})  # the first of all, and not whose it is
    back = target(vms).revert("iris", generation)
    where = target(vms)
    where.wait_for("iris", back, is_in(Phase.live), SECONDS)
    assert answering(vms, "a") == vms.release(1).image
    assert BEFORE not in vms.metadata_of_any("a")


def test_a_way_back_that_was_killed_is_taken_up_by_the_next_run(
    vms: Vms, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_vm(vms, "a")
    where = target(vms)
    confirmed(vms, where, 1)
    generation = on_trial(vms, where, 2)
    with monkeypatch.context() as patched:
        patched.setattr(ContainerDeclaration, "_rewrite", dies)
        with pytest.raises(Killed):
            where.revert("iris", generation)
    after = target(vms)
    assert after.desired("iris").candidate is not None, "whoever comes next sees that there is a trial"
    back = after.revert("iris", generation)
    after.wait_for("iris", back, is_in(Phase.live), SECONDS)
    assert answering(vms, "a") == vms.release(1).image


def dies(*_: object) -> None:
    raise Killed


def test_a_rollback_goes_on_without_a_vm_that_is_off_which_finds_it_when_it_starts(vms: Vms) -> None:
    old_vm(vms, "a")
    old_vm(vms, "b")
    confirmed(vms, target(vms), 2)
    power(vms, "a", "stop", "TERMINATED")
    where = target(vms)
    where.start_seconds = 3.0
    where.ensure_node(going_back=True)
    former = plain(vms.release(3)).model_copy(update={"port": vms.agents.port, "restores": 1})
    generation = where.propose(former, KEY)
    where.shift("iris", generation, 100)
    where.wait_for("iris", generation, is_in(Phase.bake), 3.0)
    where.confirm("iris", generation)
    assert answering(vms, "b") == former.image
    power(vms, "a", "start", "RUNNING")
    eventually(lambda: "a" in vms.boots.old)
    assert answering(vms, "a") == former.image


def power(vms: Vms, name: str, what: str, then: str) -> None:
    vms.cloud.call("POST", f"/compute/v1/projects/sandbox/zones/{ZONE}/instances/{name}/{what}")
    eventually(lambda: vms.cloud.world.instances["sandbox", ZONE, name].status == then)


def test_what_a_declaration_cannot_carry_is_refused_by_name(vms: Vms) -> None:
    old_vm(vms, "a")
    asked = {"secrets": {"KEY": "k"}, "command": ["serve"], "resources": {"memory": "1g"}}
    asked |= {"volumes": [{"path": "/data", "tmpfs": "10m"}]}
    release = plain(vms.release(1, **asked))
    with pytest.raises(Refused, match=r"cannot carry run.secrets, run.command, run.volumes, run.resources"):
        target(vms).propose(release, KEY)
    model = ReleasedModel(name="iris", version="v1", sha256="0" * 64)
    with pytest.raises(Refused, match="cannot carry the model") as refused:
        target(vms).propose(vms.release(1).model_copy(update={"model": model}), KEY)
    assert refused.value.next_step == "model-deploy adopt VM"
    assert vms.boots.boots == ["a"]


def test_an_image_that_does_not_start_is_said_at_the_deadline(vms: Vms) -> None:
    old_vm(vms, "a")
    vms.boots.broken.add(vms.release(1).image)
    where = target(vms)
    generation = on_trial(vms, where, 1)
    where.start_seconds = 0.5
    with pytest.raises(Unreachable, match="does not answer on europe-west1-b/a after its restart"):
        where.wait_for("iris", generation, is_in(Phase.bake), 0.5)


def test_a_vm_without_a_declaration_is_not_touched(vms: Vms) -> None:
    vms.cloud.vm("a", labels={"service": "iris"})
    with pytest.raises(Refused, match="no container declaration") as refused:
        target(vms).ensure_node()
    assert "compute-engine" in refused.value.next_step


USER_DATA = "#cloud-config\n"


def test_an_adopted_vm_serves_by_the_agent_and_the_old_key_is_gone(vms: Vms) -> None:
    old_vm(vms, "a")
    where, release = vms.target(), vms.release(1)
    found = adopting.find(where, "a")
    adopting.adopt(where, found, release, USER_DATA)
    assert vms.live() == {"a": "1"}
    metadata = vms.metadata_of("a")
    assert "gce-container-declaration" not in metadata
    assert metadata["user-data"] == USER_DATA
    adopting.finish(where, found)
    with pytest.raises(Refused, match="nothing to adopt"):
        adopting.find(where, "a")
    vms.confirmed(where, 2)
    assert vms.live() == {"a": "2"}


def test_a_port_of_another_service_is_not_given_again(vms: Vms) -> None:
    old_vm(vms, "a")
    vms.add("b", user_data=USER_DATA)
    vms.confirmed(vms.target(labels={}, names=["b"]), 1)  # of the service iris
    port = vms.agents.port
    where = vms.target(ports=[port, port + 1])
    found = adopting.find(where, "a")
    assert adopting.free_port(where, found, "iris", None) == port
    assert adopting.free_port(where, found, "rose", None) == port + 1
    with pytest.raises(Refused, match=f"port {port} cannot be the public port of rose"):
        adopting.free_port(where, found, "rose", port)


@pytest.mark.parametrize("when", ["old key", "restart", "wait"])
def test_ctrl_c_at_any_moment_leaves_the_vm_as_it_was(
    vms: Vms, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_vm(vms, "a")
    where, boots = vms.target(), len(vms.boots.boots)
    found, before = adopting.find(where, "a"), vms.metadata_of_any("a")
    write, restart = type(where).set_metadata, type(where).restart

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def write_once(target: object, vm: Vm, metadata: dict[str, str]) -> Vm:
        if "gce-container-declaration" not in metadata:
            raise KeyboardInterrupt
        return write(target, vm, metadata)  # type: ignore[arg-type]

    def restart_then(target: object, vm: Vm) -> object:
        monkeypatch.setattr(type(where), "restart", restart)
        restart(target, vm)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    if when == "old key":
        monkeypatch.setattr(type(where), "set_metadata", write_once)
    elif when == "restart":
        monkeypatch.setattr(type(where), "restart", restart_then)
    else:
        monkeypatch.setattr(adopting, "_wait_for", interrupted)
    with pytest.raises(KeyboardInterrupt):
        adopting.adopt(where, found, vms.release(1), USER_DATA)
    assert vms.metadata_of_any("a") == before
    eventually(lambda: "a" in vms.boots.old)
    assert answering(vms, "a") == "gcr.io/acme/iris:1"
    if when == "old key":
        assert len(vms.boots.boots) == boots, "it was not restarted for nothing"


@pytest.mark.parametrize("calls", range(1, 5))
def test_an_adoption_that_was_killed_goes_on_when_it_is_run_again(
    vms: Vms, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after(vms, calls, monkeypatch)
    where, restarted = vms.target(), calls > 2
    found = adopting.find(where, "a")
    assert adoption.before(found.metadata)["gce-container-declaration"] == DECLARED
    if restarted:
        eventually(lambda: adopting.already_live(where, found, "iris") is not None)
        boots = list(vms.boots.boots)
        with pytest.raises(Refused, match="was about to be adopted as iris, not as rose"):
            adopting.already_live(where, found, "rose")
    else:
        assert adopting.already_live(where, found, "iris") is None
        adopting.adopt(where, found, vms.release(2), USER_DATA)
        boots = list(vms.boots.boots)
    adopting.finish(where, found)
    assert vms.live() == {"a": "1" if restarted else "2"}
    assert set(vms.metadata_of("a")) == {"user-data", "model-deploy"}
    assert vms.boots.boots == boots


@pytest.mark.parametrize("calls", range(1, 4))
def test_an_adoption_that_was_killed_goes_back_when_the_next_one_fails(
    vms: Vms, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after(vms, calls, monkeypatch)
    monkeypatch.setattr(adopting, "UP_SECONDS", 1.0)
    vms.agents.breaks("a", 2)
    where = vms.target()
    with pytest.raises(Unreachable, match="the VM runs as before"):
        adopting.adopt(where, adopting.find(where, "a"), vms.release(2), USER_DATA)
    assert vms.metadata_of_any("a") == {"gce-container-declaration": DECLARED}
    eventually(lambda: "a" in vms.boots.old)
    assert answering(vms, "a") == "gcr.io/acme/iris:1"


def killed_after(vms: Vms, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adoption that dies after so many of: the first write, the second, the restart, the wait."""
    old_vm(vms, "a")
    where, done = vms.target(), itertools.count(1)

    def dies(name: str, home: object) -> None:
        real = getattr(home, name)

        def once(*given: object) -> object:
            found = real(*given)
            if next(done) == calls:
                raise Killed
            return found

        patched.setattr(home, name, once)

    with monkeypatch.context() as patched:
        patched.setattr(adopting, "_take_back", lambda *_, **__: None)
        for name in ("set_metadata", "restart"):
            dies(name, type(where))
        dies("_wait_for", adopting)
        with pytest.raises(Killed):
            adopting.adopt(where, adopting.find(where, "a"), vms.release(1), USER_DATA)


def test_a_vm_that_does_not_come_up_runs_as_before(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopting, "UP_SECONDS", 1.0)
    old_vm(vms, "a")
    vms.agents.breaks("a", 1)
    before = vms.cloud.world.instances["sandbox", ZONE, "a"].metadata()
    where = vms.target()
    with pytest.raises(Unreachable, match="the VM runs as before: iris is not live on a"):
        adopting.adopt(where, adopting.find(where, "a"), vms.release(1), USER_DATA)
    eventually(lambda: "a" in vms.boots.old)
    assert answering(vms, "a") == "gcr.io/acme/iris:1"
    assert vms.cloud.world.instances["sandbox", ZONE, "a"].metadata() == before
