"""How a container gets the node's GPUs."""

from typing import Any

from docker.types import DeviceRequest, Mount

# https://cloud.google.com/container-optimized-os/docs/how-to/run-gpus#configure_containers_to_consume_gpus
IN_CONTAINER = "/usr/local/nvidia"  # where images built for NVIDIA's GPUs look for the driver
FOLDERS = ("lib64", "bin")
SHARED_DEVICES = ("/dev/nvidia-uvm", "/dev/nvidiactl")


def requested(count: int | None, driver: str) -> dict[str, Any]:
    """Arguments of docker-py's `create_host_config`, `mounts` aside.

    With NVIDIA's container toolkit on the node what `docker run --gpus N` asks for; Container-Optimized OS
    has none, there it is the devices, and the driver's folders (`mounts`).
    """
    if not count:
        return {}
    if not driver:
        return {"device_requests": [DeviceRequest(count=count, capabilities=[["gpu"]])]}
    return {"devices": [*(f"/dev/nvidia{number}" for number in range(count)), *SHARED_DEVICES]}


def mounts(count: int | None, driver: str) -> list[Mount]:
    """The driver's folders, where the host keeps one."""
    if not count or not driver:
        return []
    return [
        Mount(target=f"{IN_CONTAINER}/{name}", source=f"{driver}/{name}", type="bind", read_only=True)
        for name in FOLDERS
    ]
