"""Which of the local edge's ports a service has, from its first build on."""

import json
from collections.abc import Sequence
from pathlib import Path

from blocks.targets import desired_file
from releases import place
from releases.place import Place, Taken


def choose(
    folder: Path, service: str, wanted: int | None, hosts: tuple[str, ...], ports: Sequence[int]
) -> int:
    """The service's port, chosen once. Raises Refused."""
    file = folder / "ports.json"
    with desired_file.locked(folder):
        kept: dict[str, int] = json.loads(file.read_bytes()) if file.exists() else {}
        had = place.taken(desired_file.read(folder))
        # A port that is shared is not kept: others may be released to it while this one is built.
        known = [(name, Place(port)) for name, port in kept.items() if not _shares(name, had)]
        port = place.choose(service, wanted, hosts, ports, [*known, *had])
        if kept.get(service) != (None if hosts else port):
            mine = {} if hosts else {service: port}
            others = {name: other for name, other in kept.items() if name != service}
            fresh = file.with_suffix(".new")
            fresh.write_text(json.dumps({**others, **mine}), encoding="utf-8")
            fresh.replace(file)
    return port


def _shares(service: str, had: list[Taken]) -> bool:
    return any(name == service and place.hosts for name, place in had)
