"""Which of the node's GPUs a container gets, and how."""

import re
from collections.abc import Iterable
from typing import Any

from docker.types import DeviceRequest, Mount

# https://cloud.google.com/container-optimized-os/docs/how-to/run-gpus#configure_containers_to_consume_gpus
IN_CONTAINER = "/usr/local/nvidia"  # where images built for NVIDIA's GPUs look for the driver
FOLDERS = ("lib64", "bin")
SHARED_DEVICES = ("/dev/nvidia-uvm", "/dev/nvidiactl")


def free(count: int | None, others: Iterable[dict[str, Any]]) -> tuple[int, ...]:
    """The first so many that none of the other services' containers has, by their `HostConfig`.

    Whether the node has so many the engine knows: it refuses a device that is not there.
    """
    taken = {number for host in others for number in _held(host)}
    numbers = (number for number in range((count or 0) + len(taken)) if number not in taken)
    return tuple(number for number, _ in zip(numbers, range(count or 0), strict=False))


def _held(host: dict[str, Any]) -> set[int]:
    found = {
        int(match[1])
        for one in host.get("Devices") or []
        if (match := re.fullmatch(r"/dev/nvidia(\d+)", one["PathOnHost"]))
    }
    for asked in host.get("DeviceRequests") or []:
        found |= {int(one) for one in asked.get("DeviceIDs") or []} or set(range(max(0, asked["Count"])))
    return found


def requested(numbers: tuple[int, ...], driver: str) -> dict[str, Any]:
    """Arguments of docker-py's `create_host_config`, `mounts` aside.

    With NVIDIA's container toolkit on the node what `docker run --gpus device=…` asks for;
    Container-Optimized OS has none, there it is the devices, and the driver's folders (`mounts`).
    """
    if not numbers:
        return {}
    if not driver:
        ids = [str(number) for number in numbers]
        return {"device_requests": [DeviceRequest(device_ids=ids, capabilities=[["gpu"]])]}
    return {"devices": [*(f"/dev/nvidia{number}" for number in numbers), *SHARED_DEVICES]}


def mounts(count: int | None, driver: str) -> list[Mount]:
    """The driver's folders, where the host keeps one."""
    if not count or not driver:
        return []
    return [
        Mount(target=f"{IN_CONTAINER}/{name}", source=f"{driver}/{name}", type="bind", read_only=True)
        for name in FOLDERS
    ]
