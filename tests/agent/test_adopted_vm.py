"""A VM of Google's container startup agent that moves to ours, with what its container had."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from bench.vm import ZONE, Cloud, Vm, node_boot
from blocks.targets import adopting
from blocks.targets.compute_engine import ComputeEngineInstances
from releases.adopted_run import adopted_run
from releases.container_declaration import KEY, parse
from releases.node_boot import NodeBoot, node_user_data
from releases.problem import Unreachable
from tests.agent.showing import ENTRYPOINT, command

pytestmark = pytest.mark.containers
PORT = 8000  # the sample image's own: the old container has it on the VM's address, and the edge wants it


@pytest.fixture
def old_vm(machines: Cloud, agent_image: str, sample_image: str) -> Iterator[Vm]:
    boot = NodeBoot(**{**vars(node_boot(agent_image, sample_image.partition("/")[0])), "ports": (PORT,)})
    container = {"name": "iris", "image": sample_image, "env": [{"name": "RELEASE", "value": "old"}]}
    machines.create("old", {KEY: yaml.safe_dump({"spec": {"containers": [container]}})})
    vm = Vm(machines, "old", boot, image=sample_image)
    vm.until(lambda: answer(vm) == "old")
    yield vm
    machines.done("DELETE", f"{machines.instances}/old")


def answer(vm: Vm) -> str:
    try:
        found = httpx.get(vm.url(), timeout=2)
    except httpx.HTTPError:
        return ""
    return str(found.json()["release"]) if found.is_success else ""


def old_containers(vm: Vm) -> str:
    return vm.docker("ps", "--all", "--quiet", "--filter", f"name=^{vm.host}-klt-")


def target(vm: Vm, folder: Path) -> ComputeEngineInstances:
    at = vm.cloud.at
    (folder / "token").write_text(at.token)
    return ComputeEngineInstances(
        project=at.project,
        zones=[ZONE],
        names=[vm.name],
        ports=[PORT],
        endpoint=at.api,
        access_token_file=folder / "token",
    )


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopting, "UP_SECONDS", 30.0)


def test_the_old_container_does_not_come_back_and_its_port_is_the_edges(old_vm: Vm, tmp_path: Path) -> None:
    where = target(old_vm, tmp_path)
    adopting.adopt(where, adopting.find(where, "old"), old_vm.release(), node_user_data(old_vm.boot))
    assert answer(old_vm) == "1"
    assert old_containers(old_vm) == ""
    assert "which the container startup agent had started" in old_vm.console
    old_vm.power("reset")
    old_vm.until(lambda: answer(old_vm) == "1")
    assert old_containers(old_vm) == ""


def test_a_vm_that_is_taken_back_runs_its_old_container_again(old_vm: Vm, tmp_path: Path) -> None:
    where, broken = target(old_vm, tmp_path), old_vm.release("crashes")
    with pytest.raises(Unreachable, match=r"the VM runs as before: .* is not live on old"):
        adopting.adopt(where, adopting.find(where, "old"), broken, node_user_data(old_vm.boot))
    old_vm.until(lambda: answer(old_vm) == "old")
    assert len(old_containers(old_vm).split()) == 1
    assert old_vm.docker("ps", "--all", "--quiet", "--filter", f"label=model-deploy.node={old_vm.host}") == ""


def test_what_the_old_container_had_the_new_one_has(
    machines: Cloud, agent_image: str, sample_image: str, tmp_path: Path
) -> None:
    folders = ["/data", "/models", "/cache"]
    (tmp_path / "file").write_text("weights")
    container = {
        "name": "iris",
        "image": sample_image,
        "command": ENTRYPOINT,
        "args": command(*folders),
        "env": [{"name": "MODE", "value": "fast"}],
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "data", "mountPath": "/models", "readOnly": True},
            {"name": "cache", "mountPath": "/cache"},
        ],
    }
    volumes = [
        {"name": "data", "hostPath": {"path": str(tmp_path)}},
        {"name": "cache", "emptyDir": {"medium": "Memory"}},
    ]
    declaration = yaml.safe_dump({"spec": {"containers": [container], "volumes": volumes}})
    machines.create("full", {KEY: declaration})
    boot = NodeBoot(**{**vars(node_boot(agent_image, sample_image.partition("/")[0])), "ports": (PORT,)})
    vm = Vm(machines, "full", boot, image=sample_image)
    try:
        vm.until(lambda: shown(vm) != {})
        old = shown(vm)
        run = adopted_run(parse(declaration), PORT, PORT)
        release = vm.release().model_copy(update={"run": run})
        where = target(vm, tmp_path)
        adopting.adopt(where, adopting.find(where, "full"), release, node_user_data(boot))
        new = shown(vm)
    finally:
        machines.done("DELETE", f"{machines.instances}/full")
    assert (old.pop("release"), new.pop("release")) == (None, "1")
    assert (old.pop("proto"), new.pop("proto")) == (None, ["http"])
    assert (tmp_path / "written").read_text().endswith(" 1 "), "by both, into the same folder"
    assert (old.pop("written")["/models"], new.pop("written")["/models"]) == ("", "")
    assert new == old
    assert new["files"] == {"/data": "weights", "/models": "weights", "/cache": ""}
    assert new["kinds"]["/cache"] == "tmpfs"


def shown(vm: Vm) -> dict[str, Any]:
    try:
        found = httpx.get(vm.url(), timeout=2)
    except httpx.HTTPError:
        return {}
    return dict(found.json()) if found.is_success else {}
