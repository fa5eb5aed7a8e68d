"""Block documents from one versioned file; applying twice changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, get_args

from prefect.blocks.core import Block
from pydantic import ValidationError

from blocks.email import Email
from blocks.environment import AnyStore, AnyTarget, Environment, environment_names
from blocks.image_builder import ImageBuilder
from blocks.image_registry import ImageRegistry
from deployments import stack
from deployments.approvals import ensure_expiry
from deployments.environments_file import Described, parse
from deployments.google_cloud import in_google_cloud
from deployments.machine.home import Home
from deployments.machine.images import agent_image
from releases.known_keys import check_keys
from releases.problem import BadInput, plainly
from releases.wrong_value import place_of

Kinds = dict[str, type[Block]]


@dataclass(frozen=True)
class Change:
    """What applying did to one environment, or what is left for a person to do."""

    environment: str
    done: str


def apply(home: Home, file: Path) -> list[Change]:
    """Save every environment that is new or different. Raises BadInput."""
    described = parse(file)
    environments = _environments(home, described, file)
    clouds = {name: in_google_cloud(name, described, file) for name, one in described.items() if one.cloud}
    if any(wanted.rules.approval for wanted in environments.values()):
        ensure_expiry()
    Email.register_type_and_schema()  # so that the UI can make one
    changes = [Change(name, _saved(name, wanted)) for name, wanted in environments.items()]
    changes += [Change(f"{name} in Google Cloud", _saved(name, one)) for name, one in clouds.items()]
    return changes + [_left(home, name) for name in environment_names() if name not in environments]


def read(home: Home, file: Path) -> dict[str, Environment]:
    """The environments that the file describes. Raises BadInput that names the field."""
    return _environments(home, parse(file), file)


def _left(home: Home, name: str) -> Change:
    """One that the file no longer describes. A file that lacks it by mistake must not end it."""
    command = f"PREFECT_API_URL={stack.api_url(home)} prefect block delete environment/{name}"
    return Change(name, f"not in this file, and still released to; to end that: {command}")


def _saved(name: str, wanted: Block) -> str:
    """What was done."""
    try:
        now: Any = type(wanted).load(name)
    except ValueError:
        now = None
    same = now is not None and _fields(now) == _fields(wanted)
    if not same:
        wanted.save(name, overwrite=True)
    return "unchanged" if same else "updated" if now else "created"


def _environments(home: Home, described: Mapping[str, Described], file: Path) -> dict[str, Environment]:
    return {name: _environment(name, one, _values(home, name), str(file)) for name, one in described.items()}


def _fields(environment: Block) -> dict[str, Any]:
    """What was described, without what Prefect adds to a block that it has stored."""
    return {name: value for name, value in environment.model_dump().items() if not name.startswith("_")}


def _values(home: Home, environment: str) -> dict[str, Any]:
    share = home.share(environment)
    return {
        "home": str(share.path),
        "node": share.node,
        "registry": f"localhost:{home.chosen().registry_port}",
        "ports": share.ports,
    }


def _environment(name: str, one: Described, values: dict[str, Any], where: str) -> Environment:
    """The target's and the store's `type` say which block each is; without one, they are local."""
    given = {"registry": one.registry, "target": one.target, "store": one.store}
    sections = {
        part: _section(f"environments.{name}.{part}", section, values, where)
        for part, section in given.items()
    }
    described = {
        "name": name,
        "branch": one.branch,
        "tags": one.tags,
        "services": one.services,
        "release": one.release,
        "reconcile": one.reconcile,
        "rules": one.rules,
        "acme": one.acme,
        "builder": ImageBuilder(),
        **sections,
        "target": _target(sections["target"]),
    }
    try:
        return Environment.model_validate(described)
    except ValidationError as error:
        first = error.errors()[0]
        field, expected = place_of(first["loc"]), plainly(first["msg"])
        raise BadInput(
            f"`environments.{name}.{field}` is not right", where=where, expected=expected
        ) from None  # a traceback would show what pydantic has read


def _section(field: str, given: dict[str, Any] | None, values: dict[str, Any], where: str) -> dict[str, Any]:
    """What is written, with every key known: blocks ignore those that they do not know. Raises BadInput."""
    if given is None:
        raise BadInput(f"`{field}` is missing", where=where, expected="registry, target and store")
    part = field.rpartition(".")[2]
    kinds, default = SECTIONS[part]
    kind = kinds.get(str(given.get("type", default)))
    if kind is not None:  # else the environment says which types there are
        check_keys(given, kind, field, where)
    return _filled(given, values)


def _kinds(union: Any) -> Kinds:
    """Of blocks in a union that is told apart by their `type`."""
    return {tag.tag: kind for kind, tag in map(get_args, get_args(get_args(union)[0]))}


SECTIONS: dict[str, tuple[Kinds, str]] = {
    "registry": ({"": ImageRegistry}, ""),
    "target": (_kinds(AnyTarget), "local"),
    "store": (_kinds(AnyStore), "directory"),
}


def _target(described: dict[str, Any]) -> dict[str, Any]:
    """On this machine the agent is the one of this checkout, unless another is named."""
    return (
        described if described.get("type", "local") != "local" else {"agent_image": agent_image()} | described
    )


def _filled(section: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """`${ports}` alone stands for the list, within a text for its words."""

    def fill(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        name = value.removeprefix("${").removesuffix("}")
        return (
            values[name]
            if value == f"${{{name}}}" and name in values
            else Template(value).safe_substitute(values)
        )

    return {key: fill(value) for key, value in section.items()}
