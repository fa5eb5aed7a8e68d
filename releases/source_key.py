"""Same sources, same key: what makes two builds the same build."""

import hashlib
import json
from collections.abc import Mapping

from releases.spec import Build

LABEL = "model-deploy.source-key"  # of an image, beside the tag, which can be moved


def source_key(tree: str, build: Build, bases: Mapping[str, str]) -> str:
    """The key of a build: git tree, Dockerfile, target, arguments, platform, base images' digests."""
    parts = [tree, build.model_dump(exclude={"timeout"}), dict(bases)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def source_tag(key: str) -> str:
    """What an image of these sources is found by."""
    return f"src-{key}"
