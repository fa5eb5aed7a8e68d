"""What a container keeps its files in, as the engine is asked for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from docker.types import DriverConfig, Mount

from releases.volumes import Volume

BY_NAME = "/dev/disk/by-id/google-"  # where Google's udev rules put a disk by its device name


def binds(wanted: Sequence[Volume]) -> list[str]:
    """Folders of the node. As `binds`: on a VM that is new nobody else is there to make them."""
    mode = {True: "ro", False: "rw"}
    return [f"{one.host}:{one.path}:{mode[one.read_only]}" for one in wanted if one.host is not None]


def mounts(wanted: Sequence[Volume], node: str) -> list[Mount]:
    """Memory and disks."""
    return [_tmpfs(one) if one.tmpfs is not None else _disk(one, node) for one in wanted if one.host is None]


def mounted(host_config: Mapping[str, Any]) -> set[tuple[str, str]]:
    """What is where, of a container's HostConfig."""
    parts = (bind.rsplit(":", 2) for bind in host_config.get("Binds") or [])
    others = ((one["Target"], one.get("Source") or "") for one in host_config.get("Mounts") or [])
    return {(f"{path}:{mode}", source) for source, path, mode in parts} | set(others)


def _tmpfs(one: Volume) -> Mount:
    return Mount(target=one.path, source=None, type="tmpfs", tmpfs_size=one.tmpfs_bytes)


def _disk(one: Volume, node: str) -> Mount:
    """The engine itself mounts the disk on the host, once for all containers that have it.

    Never formatted: a disk without a file system is an error that names it. Read-only also for the file
    system, since a disk may be attached so, and to several VMs at once; `noload` reads no journal.
    """
    options = {"type": "ext4", "device": f"{BY_NAME}{one.disk}"}
    if one.read_only:
        options["o"] = "ro,noload"
    return Mount(
        target=one.path,
        source=f"{node}-disk-{one.disk}{'-ro' if one.read_only else ''}",
        type="volume",
        read_only=one.read_only,
        no_copy=True,  # what the image has there is not written to the disk
        labels={"model-deploy.node": node},
        driver_config=DriverConfig("local", options),
    )
