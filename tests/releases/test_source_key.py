"""What makes two builds the same build."""

from releases.source_key import source_key
from releases.spec import Build


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
