"""Which container of the edge goes on when an agent starts; the engine is only data."""

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from docker.errors import NotFound

from agent.edge import Edge
from agent.haproxy import Ports

OLD, NEW = "registry/haproxy@sha256:1", "registry/haproxy@sha256:2"


class OneContainer:
    """An engine with the edge's container, which publishes port 80, and the images that are here."""

    def __init__(self, *images: str) -> None:
        self.runs, self.made, self.images = OLD, list[str](), images
        self.client = SimpleNamespace(containers=SimpleNamespace(get=self.get))
        self.api: Any = MagicMock()
        self.api.create_container = self.create
        self.node = self.network = "n"

    def has_image(self, image: str) -> bool:
        return image in self.images

    def get(self, _name: str) -> Any:
        if not self.runs:
            raise NotFound("no such container")
        bound = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "80"}]}
        attrs = {"Config": {"Image": self.runs}, "HostConfig": {"PortBindings": bound}}
        return SimpleNamespace(attrs=attrs, status="running", remove=self.remove)

    def remove(self, *, force: bool) -> None:
        assert force
        self.runs = ""

    def create(self, image: str, **_: object) -> dict[str, str]:
        self.runs = image
        self.made.append(image)
        return {"Id": "new"}


@pytest.fixture
def edge(tmp_path: Path) -> Edge:
    made = Edge.__new__(Edge)
    made.folder, made.services, made.thumbprint, made.told = tmp_path, {}, "", {}
    made.ports, made.listen, made.subnet, made.name = Ports((80,)), "0.0.0.0", "10.0.0", "n-edge"
    made.lock, made.make_room = threading.Lock(), lambda: 0
    made._send = lambda _: "Pid: 1\nSuccess!"  # type: ignore[method-assign]
    return made


@pytest.mark.parametrize(
    ("wanted", "here", "made"),
    [(OLD, {OLD}, []), (NEW, {OLD, NEW}, [NEW]), (NEW, {OLD}, [])],
    ids=[
        "the same one goes on untouched",
        "another one is taken into use",
        "one that is not here costs nothing",
    ],
)
def test_the_edge_runs_the_image_that_is_named(
    edge: Edge, wanted: str, here: set[str], made: list[str]
) -> None:
    engine: Any = OneContainer(*here)
    edge.engine, edge.image = engine, wanted
    edge.ensure()
    assert engine.made == made
    assert engine.runs


def test_a_certificate_that_is_had_before_the_edge_is_up_waits_for_it(edge: Edge) -> None:
    engine: Any = OneContainer(NEW)
    edge.engine, edge.image, engine.runs = engine, NEW, ""
    (edge.folder / "certs").mkdir()
    edge.use_certificate(edge.folder / "certs" / "iris-tls.pem", "chain and key")
    assert engine.made == [NEW]
    assert [path.read_text() for path in edge.certificates()] == ["chain and key"]


def test_what_a_vm_that_is_reset_starts_from_is_on_its_disk(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = set[int]()
    monkeypatch.setattr("agent.edge.os.fsync", lambda number: synced.add(os.fstat(number).st_ino))
    engine: Any = OneContainer(OLD)
    edge.engine, edge.image, engine.runs = engine, OLD, ""
    (edge.folder / "certs").mkdir()
    edge.use_certificate(edge.folder / "certs" / "iris-tls.pem", "chain and key")
    files = [path for path in edge.folder.rglob("*") if path.is_file()]
    assert {"haproxy.cfg", "routes.map", "iris-tls.pem"} <= {path.name for path in files}
    assert [path.name for path in files if path.stat().st_ino not in synced] == []
    synced.clear()
    edge.answer_challenges()
    assert not synced, "what has not changed makes a switch wait for the disk"
