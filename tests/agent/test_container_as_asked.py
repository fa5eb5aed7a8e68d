"""What a container is started with, and what is noticed when it is another; a real engine where it can be."""

import secrets
import subprocess
import threading
from pathlib import Path

import pytest

from agent.engine import Engine
from agent.logs.containers import Containers
from agent.secrets import SecretFiles
from bench.node import LocalNode
from releases.release import ReleasedModel
from releases.swap_memory import Container, Running, Slot
from tests.agent.showing import ENTRYPOINT, command
from tests.agent.test_gpus import asked, started_with
from tests.controllers import wait_until
from tests.http_server import Answer, Request, json_answer, serving

__all__ = ["asked"]


def test_all_rights_are_asked_for_only_where_they_are_said(asked: list[dict]) -> None:
    assert started_with(asked, privileged=True)["HostConfig"]["Privileged"] is True
    assert not started_with(asked)["HostConfig"].get("Privileged")


def test_unsaid_words_leave_the_images_own(asked: list[dict]) -> None:
    body = started_with(asked)
    assert not body.get("Entrypoint")
    assert not body.get("Cmd")
    body = started_with(asked, entrypoint=["/run"], command=["--fast"])
    assert (body["Entrypoint"], body["Cmd"]) == (["/run"], ["--fast"])


def test_a_disk_is_a_volume_that_the_engine_mounts(asked: list[dict]) -> None:
    body = started_with(asked, volumes=[{"path": "/data", "disk": "weights", "read_only": True}])
    assert body["HostConfig"]["Mounts"] == [
        {
            "Target": "/data",
            "Source": "n-disk-weights-ro",
            "Type": "volume",
            "ReadOnly": True,
            "VolumeOptions": {
                "NoCopy": True,
                "Labels": {"model-deploy.node": "n"},
                "DriverConfig": {
                    "Name": "local",
                    "Options": {
                        "type": "ext4",
                        "device": "/dev/disk/by-id/google-weights",
                        "o": "ro,noload",
                    },
                },
            },
        }
    ]


def test_a_container_is_stopped_with_the_time_its_own_release_gave_it(
    asked: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    created, stopped = started_with(asked, stop_grace=33), list[str]()

    def engine(request: Request) -> Answer:
        if "/stop?" in request.path:
            stopped.append(request.path.partition("?")[2])
        if request.path.endswith("/c1/json"):
            return json_answer({"Config": created})
        return json_answer({"ApiVersion": "1.41"})

    with serving(engine) as address:
        monkeypatch.setenv("DOCKER_HOST", address.replace("http:", "tcp:"))
        after_a_release_with_another = Engine("n", SecretFiles(Path("/none")), Path("/models"))
        after_a_release_with_another.remove(Container("c1", "old", 1, Slot.a, Running.running))
    assert stopped == ["t=33"]


def test_lines_belong_where_the_release_does_whatever_the_service_calls_its_environment(
    asked: list[dict],
) -> None:
    model = ReleasedModel(name="iris", version="v1.1")
    body = started_with(asked, model=model, env={"ENVIRONMENT": "eu/prod", "MODEL_VERSION": "x"})
    assert {"ENVIRONMENT=eu/prod", "MODEL_VERSION=x"} <= set(body["Env"])
    engine = Engine("n", SecretFiles(Path("/none")), Path("/models"))
    (origin,) = Containers(engine)().values()
    assert (origin.environment, origin.model_version) == ("local", "v1.1")


def test_what_an_older_agent_has_started_is_known_by_its_variables(asked: list[dict]) -> None:
    body = started_with(asked, env={"MODEL_VERSION": "v1"})
    del body["Labels"]["model-deploy.environment"]
    engine = Engine("n", SecretFiles(Path("/none")), Path("/models"))
    (origin,) = Containers(engine)().values()
    assert (origin.environment, origin.model_version) == ("local", "v1")


@pytest.mark.containers
def test_what_is_other_than_it_was_said_is_named(node: LocalNode, tmp_path: Path) -> None:
    volumes = [{"path": "/data", "host": str(tmp_path)}, {"path": "/cache", "tmpfs": "8m"}]
    release = node.release(entrypoint=ENTRYPOINT, command=command("/data"), volumes=volumes)
    engine = Engine(node.target.node, SecretFiles(tmp_path), tmp_path)
    engine.ensure_image(release.image)
    engine.start(release, Slot.a, f"{engine.subnet()}.100", 1)
    (container,) = engine.containers("sample")
    try:
        assert engine.changed_by_hand(container, release) == ""
        for name, value in {
            "privileged": True,
            "entrypoint": ["python"],
            "command": ["-V"],
            "volumes": release.run.volumes[:1],
        }.items():
            other = release.model_copy(update={"run": release.run.model_copy(update={name: value})})
            assert engine.changed_by_hand(container, other).endswith(f"by hand: {name}")
    finally:
        engine.remove(container)


@pytest.mark.containers
def test_only_the_nodes_own_containers_wake_its_agent() -> None:
    mine, heard = f"md-test-{secrets.token_hex(3)}", list[str]()

    def run(node: str, service: str) -> None:
        labels = [f"--label=model-deploy.node={node}", f"--label=model-deploy.service={service}"]
        argv = ["docker", "run", "--rm", *labels, "python:3.11-slim", "true"]
        subprocess.run(argv, check=True, capture_output=True)

    def listen() -> None:
        for service in engine.comings_and_goings():
            heard.append(service)

    engine = Engine(mine, SecretFiles(Path("/none")), Path("/models"))
    threading.Thread(target=listen, daemon=True).start()
    for _ in range(20):  # until it listens
        run(mine, "first")
        if heard:
            break
    run(f"{mine}-other", "theirs")
    run(mine, "last")
    wait_until(lambda: heard.count("last") == 2, 20)
    engine.client.close()
    assert set(heard) == {"first", "last"}
