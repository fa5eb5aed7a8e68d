"""What makes two builds the same build."""

import pytest

from releases.source_key import base_images, source_key
from releases.spec import Build


@pytest.mark.parametrize(
    ("dockerfile", "args", "images"),
    [
        ("FROM python:3.11-slim", {}, ["python:3.11-slim"]),
        ("ARG BASE=a:1\nFROM ${BASE} AS x\nFROM x\nFROM $BASE", {}, ["a:1"]),
        ("ARG BASE=a:1\nFROM ${BASE}", {"BASE": "b:2"}, ["b:2"]),
        (
            "FROM --platform=linux/amd64 a AS one\nCOPY --from=one /x /x\nCOPY --from=b:3 /y /y",
            {},
            ["a", "b:3"],
        ),
        ("FROM a\nRUN --mount=type=bind,from=c:4,target=/c true", {}, ["a", "c:4"]),
        ("from scratch\nCOPY --from=0 / /", {}, []),
    ],
)
def test_base_images_are_found(dockerfile: str, args: dict[str, str], images: list[str]) -> None:
    assert base_images(dockerfile, args) == images


def test_every_part_of_a_build_is_in_its_key() -> None:
    bases = {"python:3.11-slim": "sha256:1"}
    keys = [
        source_key("tree", Build(), bases),
        source_key("other tree", Build(), bases),
        source_key("tree", Build(target="serving"), bases),
        source_key("tree", Build(args={"A": "1"}), bases),
        source_key("tree", Build(platform="linux/arm64"), bases),
        source_key("tree", Build(dockerfile="other"), bases),
        source_key("tree", Build(), {"python:3.11-slim": "sha256:2"}),
    ]
    assert len(set(keys)) == len(keys)
    assert source_key("tree", Build(timeout=5), bases) == keys[0], "how long it may take changes no image"
