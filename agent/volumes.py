"""How a container gets the node's folders, memory and persistent disks."""

from collections.abc import Iterable, Mapping
from typing import Any

from docker.types import DriverConfig, Mount

from releases.volume import Volume

DEVICES = "/dev/disk/by-id/google-"  # Compute Engine's own name for an attached disk
UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def mounts(volumes: Iterable[Volume], node: str) -> list[Mount]:
    """Of docker-py's `create_host_config`. What is missing on the node is the engine's error."""
    return [_mount(one, node) for one in volumes]


def differ(found: Iterable[Mapping[str, Any]], wanted: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a container has other mounts than it was started with."""
    return {_essence(one) for one in found} != {_essence(one) for one in wanted}


def _mount(volume: Volume, node: str) -> Mount:
    if volume.tmpfs is not None:
        return Mount(target=volume.path, source=None, type="tmpfs", tmpfs_size=_size(volume.tmpfs))
    if volume.host is not None:
        return Mount(target=volume.path, source=volume.host, type="bind", read_only=volume.read_only)
    return _disk(volume, node)


def _disk(volume: Volume, node: str) -> Mount:
    """The engine mounts the disk itself, on the host: the agent needs no rights for it.

    One volume for all containers that have the disk. A disk that is attached read-only can be mounted in no
    other way, so that is a volume of its own.
    """
    options = {"type": "ext4", "device": f"{DEVICES}{volume.disk}"}
    if volume.read_only:
        options["o"] = "ro"
    return Mount(
        target=volume.path,
        source=f"{node}-disk-{volume.disk}" + ("-ro" if volume.read_only else ""),
        type="volume",
        read_only=volume.read_only,
        no_copy=True,  # what the image has there is not for the user's disk
        labels={"model-deploy.node": node},
        driver_config=DriverConfig("local", options),
    )


def _size(tmpfs: str | bool) -> int | None:
    return int(tmpfs[:-1]) * UNITS[tmpfs[-1]] if isinstance(tmpfs, str) else None


def _essence(mount: Mapping[str, Any]) -> tuple[str, str, str, bool, int]:
    size = (mount.get("TmpfsOptions") or {}).get("SizeBytes") or 0
    return (
        *(mount["Type"], mount["Target"], mount.get("Source") or "", bool(mount.get("ReadOnly"))),
        size,
    )
