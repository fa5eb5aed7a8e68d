"""A full disk, an engine that is killed, a reboot (FAULTS.md rows 13, 17, 20, 21)."""

import subprocess
import time
from pathlib import Path

import httpx
import pytest

from bench.node import LocalNode
from deployments.load import Request, running
from releases.problem import Failed
from releases.status import RELEASE_HEADER, Phase
from tests.controllers import wait_until
from tests.own_machine.conftest import Machine, shell


def live(node: LocalNode) -> int:
    """The release that answers; 0 where nothing does."""
    try:
        answer = httpx.get(node.target.url(node.port), timeout=5)
    except httpx.HTTPError:
        return 0
    return int(answer.headers.get(RELEASE_HEADER, 0)) if answer.status_code == 200 else 0


def fill(machine: Machine, leave_mb: int) -> Path:
    ballast = machine.folder / "docker" / "ballast"
    subprocess.run(["fallocate", "-l", f"{machine.free_mb() - leave_mb}M", str(ballast)], check=True)
    return ballast


@pytest.mark.fault(13)
def test_a_disk_that_is_full_leaves_the_old_one_serving_and_says_so(
    machine: Machine, own_node: LocalNode, registry_outside: str
) -> None:
    own_node.image = machine.push(registry_outside)
    large = machine.push(registry_outside, 150)
    own_node.confirmed(own_node.release())
    own_node.image = large
    ballast = fill(machine, 60)
    try:
        with running(Request(own_node.port), rate=50) as load, pytest.raises(Failed, match="no space left"):
            own_node.verified(own_node.release())
        assert load.failures == []
        assert live(own_node) == 1
    finally:
        ballast.unlink()
    own_node.confirmed(own_node.release())
    assert live(own_node) == 3


@pytest.mark.fault(13, 17)
def test_retired_images_make_room_but_never_the_live_one(
    machine: Machine, own_node: LocalNode, registry_outside: str
) -> None:
    images = [machine.push(registry_outside, 80) for _ in range(4)]
    for image in images[:3]:
        own_node.image = image
        own_node.confirmed(own_node.release())
    assert [has(image) for image in images] == [True, True, True, False]
    own_node.image = images[3]
    ballast = fill(machine, 40)
    try:
        own_node.confirmed(own_node.release())
    finally:
        ballast.unlink()
    assert live(own_node) == 4
    assert [has(image) for image in images] == [False, False, True, True]
    own_node.image = images[0]  # pruned: pulled again
    own_node.confirmed(own_node.release())
    assert live(own_node) == 5


def has(image: str) -> bool:
    return (
        subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode
        == 0
    )


def test_only_the_newest_images_are_kept(
    machine: Machine, own_node: LocalNode, registry_outside: str
) -> None:
    images = [machine.push(registry_outside, 1) for _ in range(7)]
    for image in images:
        own_node.image = image
        own_node.confirmed(own_node.release())
    own_node.target.wait_for("sample", 0, lambda status: status.phase is Phase.live, 20)
    wait_until(lambda: [has(image) for image in images] == [False, False, *[True] * 5], 10)


@pytest.mark.fault(20)
def test_an_engine_that_is_killed_comes_back_with_the_same_release(
    machine: Machine, own_node: LocalNode, registry_outside: str
) -> None:
    own_node.image = machine.push(registry_outside)
    own_node.confirmed(own_node.release())
    own_node.confirmed(own_node.release())
    machine.kill_engine()
    machine.power_on()
    wait_until(lambda: live(own_node) == 2, 60)
    own_node.confirmed(own_node.release())
    assert live(own_node) == 3


@pytest.mark.parametrize("traffic", [0, 100])
@pytest.mark.fault(21)
def test_a_reboot_before_the_confirmation_brings_the_confirmed_release(
    machine: Machine, own_node: LocalNode, registry_outside: str, traffic: int
) -> None:
    own_node.image = machine.push(registry_outside)
    own_node.confirmed(own_node.release())
    generation = own_node.verified(own_node.release(window=300))
    if traffic:
        own_node.shifted(generation, traffic)
    memory = Path(
        shell("docker", "volume", "inspect", "-f", "{{.Mountpoint}}", f"{own_node.target.node}-state").strip()
    )
    machine.power_off()
    another_boot(memory / "sample.json")
    machine.power_on()
    wait_until(lambda: live(own_node) == 1, 60)
    with pytest.raises(Failed, match="rebooted"):
        own_node.target.wait_for("sample", generation, lambda status: False, 60)


@pytest.mark.fault(21)
def test_a_reboot_after_the_confirmation_brings_the_new_release_with_no_control_plane(
    machine: Machine, own_node: LocalNode, registry_outside: str
) -> None:
    own_node.image = machine.push(registry_outside)
    own_node.confirmed(own_node.release())
    own_node.confirmed(own_node.release())
    machine.power_off()
    time.sleep(0.1)
    machine.power_on()
    wait_until(lambda: live(own_node) == 2, 60)


def another_boot(memory: Path) -> None:
    """The kernel's boot id cannot be changed here: the one that was remembered becomes another."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    text = memory.read_text()
    assert boot in text
    memory.write_text(text.replace(boot, "0" * 36))
