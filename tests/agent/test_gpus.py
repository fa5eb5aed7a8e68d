"""What the engine is asked for where a service wants GPUs; a server that writes down stands in for the engine."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.engine import Engine
from agent.secrets import SecretFiles
from releases.problem import BadInput
from releases.release import Release, ReleasedModel
from releases.spec import Run
from releases.spec_file import read_spec
from releases.swap_memory import Slot
from tests.http_server import Answer, Request, json_answer, serving


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict]]:
    """The bodies of `POST /containers/create`."""
    bodies: list[dict] = []

    def engine(request: Request) -> Answer:
        if "/containers/" in request.path and request.path.partition("?")[0].endswith("/json"):
            return json_answer(standing(bodies, request.path))
        if request.method == "GET":
            return json_answer({"ApiVersion": "1.41"})
        if request.method == "DELETE":
            return json_answer({"message": "no such container"}, 404)
        if "/containers/create" in request.path:
            bodies.append(json.loads(request.body))
            return json_answer({"Id": "c1", "Warnings": []}, 201)
        return Answer(status=204)

    with serving(engine) as address:
        monkeypatch.setenv("DOCKER_HOST", address.replace("http:", "tcp:"))
        yield bodies


def standing(bodies: list[dict], path: str) -> object:
    """What was made before, as the engine lists and describes it."""
    found = [
        {"Id": f"c{at}", "Config": body, "HostConfig": body["HostConfig"]} for at, body in enumerate(bodies)
    ]
    return next((one for one in found if f"/{one['Id']}/" in path), found)


def started(asked: list[dict], driver: str = "", **resources: object) -> dict:
    """HostConfig of the container that was asked for."""
    return started_with(asked, driver, swap="replace", resources=resources)["HostConfig"]


def started_with(
    asked: list[dict],
    driver: str = "",
    service: str = "iris",
    model: ReleasedModel | None = None,
    **given: object,
) -> dict:
    """What was asked for."""
    run = Run.model_validate(given)
    release = Release(
        service=service, environment="local", number=1, image="i@sha256:" + "0" * 64, version="1", port=80,
        public_port=80, run=run, confirm_window=60, created=datetime.now(UTC), model=model,
    )  # fmt: skip
    Engine("n", SecretFiles(Path("/none")), Path("/models"), None, driver).start(
        release, Slot.a, "10.0.0.2", 1
    )
    return asked[-1]


def test_gpus_are_asked_for_as_docker_run_does(asked: list[dict]) -> None:
    assert started(asked, gpus=2)["DeviceRequests"] == [
        {"Driver": "", "Count": 0, "DeviceIDs": ["0", "1"], "Capabilities": [["gpu"]], "Options": {}}
    ]
    assert not started(asked).get("DeviceRequests")


def test_on_container_optimized_os_the_devices_and_the_driver_are_given(asked: list[dict]) -> None:
    host = started(asked, "/var/lib/nvidia", gpus=2)
    devices = [one["PathOnHost"] for one in host["Devices"]]
    assert devices == ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidia-uvm", "/dev/nvidiactl"]
    assert {(one["Source"], one["Target"], one["ReadOnly"]) for one in host["Mounts"]} == {
        ("/var/lib/nvidia/lib64", "/usr/local/nvidia/lib64", True),
        ("/var/lib/nvidia/bin", "/usr/local/nvidia/bin", True),
    }
    assert not host.get("DeviceRequests")
    plain = started(asked, "/var/lib/nvidia")
    assert not plain.get("Devices")
    assert not plain.get("Mounts")


@pytest.mark.parametrize("driver", ["", "/var/lib/nvidia"])
def test_two_services_get_a_gpu_each_and_the_next_release_the_same(asked: list[dict], driver: str) -> None:
    def gpu(service: str) -> list[str]:
        made = started_with(asked, driver, service, swap="replace", resources={"gpus": 1})["HostConfig"]
        if driver:
            return [one["PathOnHost"].removeprefix("/dev/nvidia") for one in made["Devices"][:1]]
        return list(made["DeviceRequests"][0]["DeviceIDs"])

    assert [gpu("iris"), gpu("shop"), gpu("iris"), gpu("shop")] == [["0"], ["1"], ["0"], ["1"]]


@pytest.mark.parametrize("swap", ["", "  swap: overlap\n"])
def test_two_copies_on_one_gpu_are_refused_with_what_to_write(tmp_path: Path, swap: str) -> None:
    (tmp_path / "model-deploy.yaml").write_text(f"run:\n  resources: {{gpus: 1}}\n{swap}")
    with pytest.raises(BadInput, match="swap: replace"):
        read_spec(tmp_path)


def test_a_release_without_gpus_has_the_fingerprint_it_had_before_there_were_any() -> None:
    assert "gpus" not in json.loads(Run().model_dump_json())["resources"]
