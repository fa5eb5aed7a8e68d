"""Weights of their own: published, released without a new image, taken back with the release."""

import json
from pathlib import Path

import pytest

from tests.place import SPEC, Place

pytestmark = pytest.mark.containers


def publish(place: Place, version: str, folder: Path, *more: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "weights.txt").write_text(version)
    done = place.model_deploy("model", "publish", "sample", version, str(folder), "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def weights(place: Place) -> str:
    return place.answer().json()["weights"]


def test_new_weights_without_a_new_image_and_both_back(place: Place, tmp_path: Path) -> None:
    place.commit(spec=SPEC % ("", 0, 30) + "model: {name: sample, version: v1}\n")
    sums = {version: publish(place, version, tmp_path / "model")["sha256"] for version in ("v1", "v1.1")}

    first = place.model_deploy("release", ".")
    assert (first.returncode, weights(place)) == (0, "v1"), first.stderr
    alias = place.model_deploy("model", "alias", "sample", "production", "v1.1")
    assert alias.returncode == 0, alias.stderr
    second = place.model_deploy("release", ".", "--model", "sample=production")
    assert (second.returncode, weights(place)) == (0, "v1.1"), second.stderr
    assert "(built before)" in second.stdout
    assert "model sample v1.1" in second.stdout
    assert place.answer().json()["MODEL_SHA256"] == sums["v1.1"]

    rows = json.loads(place.model_deploy("history", "sample", "--json").stdout)
    model = {"name": "sample", "version": "v1.1", "sha256": sums["v1.1"]}
    assert rows[0]["release"]["model"] == model, "an alias may point elsewhere tomorrow"

    back = place.model_deploy("rollback", "sample")
    assert (back.returncode, weights(place)) == (0, "v1"), back.stderr
    assert place.answer().json()["MODEL_SHA256"] == sums["v1"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("sample=v9", "there is no sample v9"),
        ("sample=prod", "sample has no version or alias prod"),
    ],
)
def test_a_model_that_is_not_there_touches_nothing(
    place: Place, tmp_path: Path, asked: str, said: str
) -> None:
    publish(place, "v1", tmp_path / "model")
    done = place.model_deploy("release", ".", "--model", asked)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_version_that_is_taken_is_refused_with_its_checksum(place: Place, tmp_path: Path) -> None:
    made = publish(place, "v7", tmp_path / "model")
    (tmp_path / "model" / "weights.txt").write_text("other")
    done = place.model_deploy("model", "publish", "sample", "v7", str(tmp_path / "model"))
    assert done.returncode == 3
    assert made["sha256"] in done.stderr
    got = place.model_deploy("model", "get", "sample", "v7", str(tmp_path / "got"))
    assert got.returncode == 0, got.stderr
    assert (tmp_path / "got" / "weights.txt").read_text() == "v7"
    shown = [place.model_deploy("model", *words).stdout for words in (["list"], ["show", "sample", "v7"])]
    assert all(made["sha256"][:12] in text for text in shown)
