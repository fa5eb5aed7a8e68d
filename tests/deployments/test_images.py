"""Base images: used as they are, pulled, or made; an engine that says what it is told to say."""

import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from blocks.command import Finished
from blocks.docker_client import BuildKit, DockerClient, find_docker
from deployments.machine import images
from releases.problem import Failed, Unreachable

DOCKER = DockerClient("docker", BuildKit.builtin)


@dataclass
class Engine:
    """Its images with their labels; `works`: whether python and pip run in the base."""

    has: dict[str, str] = field(default_factory=dict)
    works: bool = True
    registry: bool = False
    asked: list[str] = field(default_factory=list)

    def run(self, argv: list[str], **_: object) -> Finished:
        words = " ".join(argv[1:])
        self.asked.append(words)
        code, output = 0, ""
        match argv[1:]:
            case ["image", "inspect", "--format", _, name]:
                output = self.has.get(name, "<no value>")
            case ["image", "inspect", name]:
                code = int(name not in self.has)
            case ["run", *_]:
                code = int(not self.works)
            case ["pull", *_]:
                code = int(not self.registry)
        return Finished(tuple(argv), code, output, 0.0)

    def did(self, word: str) -> bool:
        return any(words.startswith(word) for words in self.asked)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    monkeypatch.setattr(images, "run", made.run)
    monkeypatch.setattr(images, "make_python", lambda _: made.asked.append("make python"))
    return made


@pytest.mark.parametrize(
    ("has", "works", "registry", "done", "pulls", "makes"),
    [
        ({images.PYTHON: ""}, True, True, "there already", False, False),
        ({images.PYTHON: images.PYTHON}, True, False, "there already", False, False),
        ({}, True, True, "pulled", True, False),
        ({}, True, False, "made from Debian packages", True, True),
        ({images.PYTHON: images.PYTHON}, False, False, "made from Debian packages", False, True),
    ],
    ids=["official", "stand-in", "pulled", "no registry", "a stand-in that does not work"],
)
def test_where_the_python_base_comes_from(
    engine: Engine, has: dict[str, str], works: bool, registry: bool, done: str, pulls: bool, makes: bool
) -> None:
    engine.has, engine.works, engine.registry = has, works, registry
    assert images.ensure_python(DOCKER) == done
    assert engine.did("pull") is pulls
    assert engine.did("make python") is makes


def test_a_base_of_somebody_elses_that_does_not_work_is_left_and_said(engine: Engine) -> None:
    engine.has, engine.works = {images.PYTHON: ""}, False
    with pytest.raises(Failed, match="no working python and pip") as told:
        images.ensure_python(DOCKER)
    assert told.value.next_step == f"docker image rm {images.PYTHON}"
    assert not engine.did("make python")


@pytest.mark.parametrize(
    ("stand_in", "registry", "done"),
    [("", True, "pulled"), ("", False, "made"), (images.PYTHON, True, "made")],
    ids=["pulled", "no registry", "the base had to be made: nobody is asked again"],
)
def test_where_the_edge_and_the_registry_come_from(
    engine: Engine, stand_in: str, registry: bool, done: str
) -> None:
    engine.has, engine.registry = {images.PYTHON: stand_in}, registry
    for ensure in (images.ensure_edge, images.ensure_registry_image):
        assert ensure(DOCKER).startswith(done)
    assert engine.did("pull") is not bool(stand_in)
    assert engine.did("tag") is (done == "pulled")
    assert engine.did("build") is (done == "made")


def test_who_can_neither_pull_nor_install_is_told_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "may_install", lambda: False)
    with pytest.raises(Unreachable) as told:
        images.make_python(DOCKER)
    assert told.value.next_step == f"docker pull {images.PYTHON}"


def test_the_stand_in_is_as_the_official_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is laid down as Debian has it is imported with `python`, a free pip, and whom this machine trusts."""
    bundle, imported = tmp_path / "bundle.crt", tmp_path / "imported.tar"
    bundle.write_text("whom this machine trusts")
    (tmp_path / "docker").write_text(f'#!/bin/sh\ncat > {imported}\nprintf "%s\\n" "$@" > {tmp_path}/said\n')
    (tmp_path / "docker").chmod(0o755)

    def lay_down(root: Path) -> list[str]:
        inside = Path("usr/lib/python3.11/EXTERNALLY-MANAGED"), Path("var/cache/apt/archives/python3.deb")
        for file in (*inside, Path("usr/bin/python3"), Path(str(bundle).lstrip("/"))):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text("of Debian")
        return ["true"]

    monkeypatch.setattr(images, "may_install", lambda: True)
    monkeypatch.setattr(images, "install", lambda *_, **__: None)
    monkeypatch.setattr(images, "debootstrap", lay_down)
    monkeypatch.setattr(images, "BUNDLE", bundle)
    images.make_python(DockerClient(str(tmp_path / "docker"), BuildKit.builtin))
    with tarfile.open(imported) as system:
        files: dict[str, Any] = {one.name.removeprefix("./"): one for one in system.getmembers()}
        assert files["usr/bin/python"].linkname == "python3"
        trusted = system.extractfile(files[str(bundle).lstrip("/")])
        assert trusted is not None
        assert trusted.read().decode() == "whom this machine trusts"
    assert not [name for name in files if "EXTERNALLY-MANAGED" in name or name.endswith(".deb")]
    said = (tmp_path / "said").read_text()
    assert f"LABEL {images.STAND_IN}={images.PYTHON}" in said
    assert f"ENV PIP_CERT={bundle}" in said


@pytest.mark.containers
def test_the_base_on_this_machine_can_be_built_upon() -> None:
    assert images.python_works(find_docker())
    checked = ["docker", "run", "--rm", "python:3.11-slim", "pip", "install", "--dry-run", "six"]
    done = subprocess.run(checked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (
        done.stderr
    )  # not "externally managed", and it trusts whom this machine trusts
