"""Same sources, same key: what makes two builds the same build."""

import hashlib
import json
import re
from collections.abc import Mapping

from releases.spec import Build

_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
_ARG = re.compile(r"^\s*ARG\s+(\w+)(?:=(\S*))?", re.IGNORECASE)
_COPY = re.compile(r"^\s*(?:COPY|RUN|ADD)\s.*?(?:--from=|,from=)([^\s,]+)", re.IGNORECASE)


def base_images(dockerfile: str, args: Mapping[str, str]) -> list[str]:
    """The images a Dockerfile starts from or copies from, in order, its own stages left out."""
    values: dict[str, str] = {}
    stages: set[str] = set()
    found: dict[str, None] = {}
    for line in dockerfile.splitlines():
        if declared := _ARG.match(line):
            name, default = declared.groups()
            values[name] = args.get(name, (default or "").strip("\"'"))
        named = _FROM.match(line) or _COPY.match(line)
        if not named:
            continue
        image = _filled(named[1], values)
        if image not in stages and image != "scratch" and not image.isdigit():
            found[image] = None
        if named.re is _FROM and named[2]:
            stages.add(named[2])
    return list(found)


def source_key(tree: str, build: Build, bases: Mapping[str, str]) -> str:
    """The key of a build: git tree, Dockerfile, target, arguments, platform, base images' digests."""
    parts = [tree, build.model_dump(exclude={"timeout"}), dict(bases)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)(?::-[^}]*)?\}?", lambda match: values.get(match[1], ""), text)
