"""Containers with words, folders, memory and rights of their own, on a real engine; disks as they are asked for."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import docker
import pytest

from agent import volumes
from agent.engine import Engine
from agent.failure import StepFailed
from agent.secrets import SecretFiles
from releases.release import Release
from releases.spec import Run
from releases.swap import Container, Slot
from releases.volume import Volume

SECONDS = 30.0
TELL = """
import json, os, sys, time
told = {"args": sys.argv[1:], "file": open("/data/file").read(), "disk": os.statvfs("/cache").f_blocks * 4096}
try:
    open("/data/new", "w")
except OSError as error:
    told["refused"] = error.errno
print(json.dumps(told), flush=True)
time.sleep(600)
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(f"md-test-{secrets.token_hex(3)}", SecretFiles(tmp_path), tmp_path)
    pool = docker.types.IPAMPool(subnet="172.30.211.0/24")
    made.client.networks.create(made.node, ipam=docker.types.IPAMConfig(pool_configs=[pool]))
    yield made
    for one in made.client.containers.list(all=True, filters={"label": f"model-deploy.node={made.node}"}):
        one.remove(force=True, v=True)
    made.client.networks.get(made.node).remove()


def release(image: str, **run: object) -> Release:
    return Release(
        service="iris", environment="local", number=1, image=image, version="1", port=80, public_port=80,
        run=Run.model_validate(run), confirm_window=60, created=datetime.now(UTC),
    )  # fmt: skip


def started(engine: Engine, what: Release) -> Container:
    engine.ensure_image(what.image)
    engine.start(what, Slot.a, "172.30.211.20", 1)
    return engine.containers("iris")[0]


def told(engine: Engine, container: Container) -> dict:
    deadline = time.monotonic() + SECONDS
    while not (lines := engine.log_tail(container.id)) and time.monotonic() < deadline:
        assert engine.exit_reason(container.id) is None
    return dict(json.loads(lines[-1]))


@pytest.mark.containers
def test_a_container_has_its_words_folders_and_memory(
    engine: Engine, sample_image: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("kept")
    what = release(
        sample_image,
        entrypoint=["python", "-c", TELL],
        command=["--fast", "two words"],
        volumes=[
            {"path": "/data", "host": str(tmp_path), "read_only": True},
            {"path": "/cache", "tmpfs": "64m"},
        ],
    )
    container = started(engine, what)
    assert told(engine, container) == {
        "args": ["--fast", "two words"],
        "file": "kept",
        "disk": 64 << 20,
        "refused": 30,  # EROFS
    }
    assert engine.changed_by_hand(container, what) == ""
    other = release(sample_image, privileged=True, command=["--slow"], entrypoint=["sh"])
    changed = engine.changed_by_hand(container, other)
    assert changed.endswith("privileged, volumes, entrypoint, command")
    engine.remove(container, 0)


@pytest.mark.containers
def test_privileged_is_what_was_said_and_the_images_words_stay(engine: Engine, sample_image: str) -> None:
    what = release(sample_image, privileged=True)
    engine.ensure_image(sample_image)
    with suppress(StepFailed):  # an engine that lacks these rights itself makes the container all the same
        engine.start(what, Slot.a, "172.30.211.20", 1)
    container = engine.containers("iris")[0]
    found = engine.api.inspect_container(container.id)
    assert found["HostConfig"]["Privileged"] is True
    assert found["Config"]["Cmd"] == ["python", "-S", "/app.py"]
    assert engine.changed_by_hand(container, what) == ""
    engine.remove(container, 0)


@pytest.mark.containers
def test_a_folder_that_is_missing_is_said_and_not_made(
    engine: Engine, sample_image: str, tmp_path: Path
) -> None:
    engine.ensure_image(sample_image)
    missing = tmp_path / "missing"
    what = release(sample_image, volumes=[{"path": "/data", "host": str(missing)}])
    with pytest.raises(StepFailed, match=f"source path does not exist: {missing}"):
        engine.start(what, Slot.a, "172.30.211.20", 1)
    assert not missing.exists()


def test_a_disk_is_mounted_by_the_engine_and_never_formatted() -> None:
    writable, readable = volumes.mounts(
        [Volume(path="/a", disk="data"), Volume(path="/b", disk="data", read_only=True)], "node-1"
    )
    driver = {"type": "ext4", "device": "/dev/disk/by-id/google-data"}
    assert writable["VolumeOptions"]["DriverConfig"] == {"Name": "local", "Options": driver}
    assert (writable["Source"], writable["ReadOnly"]) == ("node-1-disk-data", False)
    assert readable["VolumeOptions"]["DriverConfig"]["Options"] == {**driver, "o": "ro"}
    assert (readable["Source"], readable["ReadOnly"]) == ("node-1-disk-data-ro", True)
