"""What a service keeps outside its container, and how it is started, by the real agent and engine."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.node import LocalNode
from releases.problem import Failed
from tests.agent.showing import ENTRYPOINT, command

pytestmark = pytest.mark.containers
BY_ID = Path("/dev/disk/by-id")


def shown(node: LocalNode) -> dict[str, Any]:
    return dict(httpx.get(f"http://127.0.0.1:{node.port}/", timeout=10).json())


def run(*folders: str, **more: object) -> dict[str, object]:
    return {"health": {}, "entrypoint": ENTRYPOINT, "command": command(*folders), **more}


def test_it_runs_what_is_said_and_keeps_what_it_writes(node: LocalNode, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("weights")
    data, fresh = str(tmp_path), str(tmp_path / "made" / "anew")
    volumes = [
        {"path": "/data", "host": data, "read_only": True},
        {"path": "/fresh", "host": fresh},
        {"path": "/cache", "tmpfs": "8m"},
        {"path": "/free", "tmpfs": True},
    ]
    folders = ["/data", "/fresh", "/cache", "/free"]
    node.confirmed(node.release(**run(*folders, volumes=volumes, env={"MODE": "fast"})))
    first = shown(node)
    assert first["arguments"] == ["shows", ",".join(folders)]
    assert first["mode"] == "fast"
    assert first["files"]["/data"] == "weights"
    assert (first["kinds"]["/cache"], first["kinds"]["/free"]) == ("tmpfs", "tmpfs")
    assert [path for path, words in first["written"].items() if not words] == ["/data"]
    node.confirmed(node.release(**run(*folders, volumes=volumes)))
    assert shown(node)["written"] == {"/data": "", "/fresh": "1 2 ", "/cache": "2 ", "/free": "2 "}
    assert node.target.status("sample").message == ""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A disk of 16 MB by a name that Compute Engine would give it."""
    if os.geteuid() or not Path("/dev/loop-control").exists():
        pytest.skip("a disk is made of a loop device, which only root may")
    image, name = tmp_path / "disk", f"md-test-{secrets.token_hex(3)}"
    image.write_bytes(b"")
    os.truncate(image, 16 << 20)
    argv = ["losetup", "--show", "--find", image]
    device = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    made = not BY_ID.exists()
    BY_ID.mkdir(parents=True, exist_ok=True)
    link = BY_ID / f"google-{name}"
    link.symlink_to(device)
    try:
        yield name
    finally:
        link.unlink()
        if made:
            BY_ID.rmdir()
            BY_ID.parent.rmdir()
        subprocess.run(["losetup", "--detach", device], check=True)


def test_a_disk_is_mounted_for_two_copies_at_once_and_never_formatted(disk: str, node: LocalNode) -> None:
    wanted = run("/data", volumes=[{"path": "/data", "disk": disk}])
    with pytest.raises(Failed, match=r"the container does not start: .*mount") as refused:
        node.verified(node.release(**wanted))
    assert f"google-{disk}" in str(refused.value)
    subprocess.run(["mkfs.ext4", "-q", BY_ID / f"google-{disk}"], check=True)
    node.confirmed(node.release(**wanted))
    assert shown(node)["kinds"] == {"/data": "ext4"}
    node.confirmed(node.release(**wanted))
    assert shown(node)["written"] == {"/data": "2 3 "}
    # The file system is busy: it cannot be mounted read-only beside.
    node.confirmed(node.release(**run("/data", volumes=[], swap="replace")))
    node.confirmed(node.release(**run("/data", volumes=[{"path": "/data", "disk": disk, "read_only": True}])))
    assert shown(node)["kinds"] == {"/data": "ext4"}
    assert shown(node)["written"] == {"/data": ""}


def test_a_disk_that_is_not_attached_is_said(node: LocalNode) -> None:
    with pytest.raises(Failed, match="google-nowhere"):
        node.verified(node.release(**run("/data", volumes=[{"path": "/data", "disk": "nowhere"}])))
