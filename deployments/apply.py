"""Block documents from one versioned file; applying twice changes nothing."""

from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml
from prefect.blocks.core import Block
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blocks.environment import Environment
from blocks.image_builder import ImageBuilder
from deployments.approvals import ensure_expiry
from deployments.google_cloud import described, in_google_cloud
from deployments.machine.home import Home
from deployments.machine.images import agent_image
from releases.problem import BadInput
from releases.reconcile import Drifted
from releases.rules import Rules
from releases.spec import Name
from releases.trigger import WatchedServices
from releases.version import Releasing

ENVIRONMENTS = Path(__file__).parent / "environments.yaml"


class _Described(BaseModel):
    model_config = ConfigDict(extra="forbid")
    branch: str | None = None
    tags: str = ""
    services: WatchedServices = Field(default_factory=list)
    release: Releasing = "by hand"
    reconcile: Drifted = "report"
    rules: Rules = Field(default_factory=Rules)
    registry: dict[str, Any]
    target: dict[str, Any]
    store: dict[str, Any]
    cloud: dict[str, Any] | None = None  # google_cloud.py reads it


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    environments: dict[Name, _Described]


@dataclass(frozen=True)
class Change:
    """What applying did to one environment."""

    environment: str
    done: str


def apply(home: Home, file: Path = ENVIRONMENTS) -> list[Change]:
    """Save every environment that is new or different. Raises BadInput."""
    environments = read(home, file)
    clouds = {name: described(name, file) for name in in_google_cloud(file)}
    if any(wanted.rules.approval for wanted in environments.values()):
        ensure_expiry()
    changes = [Change(name, _saved(name, wanted)) for name, wanted in environments.items()]
    return changes + [Change(f"{name} in Google Cloud", _saved(name, one)) for name, one in clouds.items()]


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


def read(home: Home, file: Path) -> dict[str, Environment]:
    """The environments that the file describes. Raises BadInput that names the field."""
    try:
        described = _File.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        return {
            name: _environment(name, one, _values(home, name)) for name, one in described.environments.items()
        }
    except (OSError, yaml.YAMLError) as error:
        raise BadInput("the environments cannot be read", where=str(file), got=str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"`{field}` is not right", where=str(file), expected=first["msg"]) from error


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


def _environment(name: str, one: _Described, values: dict[str, Any]) -> Environment:
    """The target's and the store's `type` say which block each is; without one, they are local."""
    described = {
        "name": name,
        "branch": one.branch,
        "tags": one.tags,
        "services": one.services,
        "release": one.release,
        "reconcile": one.reconcile,
        "rules": one.rules,
        "builder": ImageBuilder(),
        "registry": _filled(one.registry, values),
        "target": _target(_filled(one.target, values)),
        "store": _filled(one.store, values),
    }
    return Environment.model_validate(described)


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
