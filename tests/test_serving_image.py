"""The image that the root Dockerfile and model-deploy.yaml make of serving/, built as a release builds it."""

import json
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from blocks.checkout import check_out
from blocks.image_builder import ImageBuilder
from deployments.stack import ROOT
from releases.spec import ServiceSpec
from releases.spec_file import read_spec

pytestmark = pytest.mark.containers

LABELS = {
    "org.opencontainers.image.revision": "0123456789abcdef",
    "org.opencontainers.image.version": "01234567",
    "org.opencontainers.image.source": "https://git.example/acme/iris",
    "org.opencontainers.image.created": "2026-11-24T10:00:00+00:00",
}
INSTALLS = ("pip", "pip3", "git", "gcc", "g++", "cc", "make")
MODULES = ("pip", "ensurepip")
LOOK = f"""
import importlib.util, shutil, os, subprocess
base = os.path.realpath("/opt/venv/bin/python")
asked = "import importlib.util; print([m for m in {MODULES} if importlib.util.find_spec(m)])"
print([name for name in {INSTALLS} if shutil.which(name)], end="")
print(subprocess.run([base, "-c", asked], capture_output=True, text=True, check=True).stdout.strip())
"""


@dataclass
class Built:
    """Two images, the second of sources in which one line of the app is another; what building that said."""

    first: str
    second: str
    spec: ServiceSpec
    said: list[str] = field(default_factory=list)


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


def inspected(image: str) -> dict[str, Any]:
    (found,) = json.loads(docker("image", "inspect", image))
    return dict(found)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder = check_out(str(ROOT), "HEAD", "", tmp_path_factory.mktemp("sources")).folder
    repository, builder, spec = f"md-test-{secrets.token_hex(4)}/iris", ImageBuilder(), read_spec(folder)
    made = Built(f"{repository}:1", f"{repository}:2", spec)
    try:
        builder.build(folder, spec.build, made.first, LABELS, lambda _: None)
        change_a_line(folder / "serving" / "app.py")
        builder.build(folder, spec.build, made.second, LABELS, made.said.append)
        yield made
    finally:
        builder.forget(repository)


def change_a_line(file: Path) -> None:
    """To what no build has seen before, so that nothing else can have it in the cache."""
    file.write_text(f"{file.read_text()}\n# {secrets.token_hex(8)}\n")


def test_it_runs_as_nobody_special_and_says_when_it_is_well(built: Built) -> None:
    config = inspected(built.first)["Config"]
    assert docker("run", "--rm", built.first, "id", "-u") == "10001"
    assert config["User"] not in {"", "0", "root"}
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert list(config["ExposedPorts"]) == [f"{built.spec.run.port}/tcp"]


def test_its_labels_are_filled(built: Built) -> None:
    labels = inspected(built.first)["Config"]["Labels"]
    named = {name: labels.get(name) for name in LABELS}
    assert named == LABELS
    assert labels["org.opencontainers.image.title"] == built.spec.name
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    revision = docker("run", "--rm", built.first, "printenv", "REVISION")
    assert revision == LABELS["org.opencontainers.image.revision"]


def test_the_app_is_in_it_and_nothing_that_installs_or_compiles(built: Built) -> None:
    imported = ["python", "-c", "from serving.app import app; print(app.title)"]
    assert docker("run", "--rm", built.first, *imported)
    assert docker("run", "--rm", built.first, "python", "-c", LOOK) == "[][]"


def test_a_changed_line_of_the_app_installs_no_dependency_again(built: Built) -> None:
    first, second = (inspected(one)["RootFS"]["Layers"] for one in (built.first, built.second))
    assert first[-1] != second[-1], "the app is not the last layer"
    assert first[:-1] == second[:-1], "what is below the app was made anew"
    assert [line for line in built.said if "Successfully installed" in line] == []
