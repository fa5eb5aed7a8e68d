"""Moving a VM from Google's container startup agent to ours: what becomes of each thing it was told."""

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from releases.adopted_run import Carried, carried
from releases.container_declaration import KEPT, KEY, Declaration
from releases.problem import Refused
from releases.volume import Volume

SECRET = re.compile(r"(?i)(secret|token|password|passwd|api_?key|credential)")


@dataclass(frozen=True)
class Choice:
    """One thing: what it was, what it becomes. `loses`: only on a person's word."""

    name: str
    was: str
    becomes: str
    loses: bool = False


def choices(declaration: Declaration, image: str, port: int, public_port: int) -> list[Choice]:
    """Everything the declaration says, in its order; nothing of it is passed over."""
    spec, container = declaration.spec, declaration.spec.container
    found = [Choice("image", container.image, image), _network(port, public_port)]
    if container.command:
        found.append(Choice("command", shlex.join(container.command), "the same (run.entrypoint)"))
    if container.args:
        found.append(Choice("args", shlex.join(container.args), "the same (run.command)"))
    found += [_variable(one.name) for one in container.env]
    found += [_volume(one) for one in carried(declaration)]
    found.append(_restart(spec.restartPolicy))
    if container.securityContext.privileged:
        found.append(Choice("privileged", "yes", "the same (run.privileged): it has the node"))
    for name, used in (("stdin", container.stdin), ("tty", container.tty)):
        if used:
            found.append(_lost(name, "yes", "no: a service has no terminal"))
    found.append(Choice("logs", "500m x 3, and Cloud Logging", "10m x 5, exported to the bucket (run.logs)"))
    parts = [declaration, spec, container, container.securityContext, *spec.volumes]
    unknown = sorted({name for part in parts for name in part.unknown})
    return found + [_lost(name, "set", "nothing: no such thing is known here") for name in unknown]


def check(found: Collection[Choice], accepted: Collection[str]) -> None:
    """See that everything that is lost was accepted by name. Raises Refused."""
    lost = [one for one in found if one.loses and one.name not in accepted]
    strangers = sorted(set(accepted) - {one.name for one in found})
    if strangers:
        raise Refused(f"there is no `{strangers[0]}` to accept", expected=", ".join(o.name for o in found))
    if lost:
        raise Refused(
            f"{len(lost)} things cannot be carried over; nothing was touched",
            got="\n       ".join(f"{one.name}: {one.was} -> {one.becomes}" for one in lost),
            next_step="put them into the image, or say --accept NAME for each: "
            + " ".join(f"--accept {one.name}" for one in lost),
        )


def check_metadata(metadata: Mapping[str, str]) -> None:
    """See that the VM is one to be moved. Raises Refused."""
    if KEY not in metadata and KEPT not in metadata:
        raise Refused(f"the VM has no {KEY}: there is nothing to adopt", next_step="model-deploy provision")
    foreign = ("startup-script",) if KEPT in metadata else ("user-data", "startup-script")
    theirs = [name for name in foreign if name in metadata]
    if theirs:
        raise Refused(
            f"the VM's metadata has a {theirs[0]} of its own",
            expected="none: the agent is started by user-data, and a startup script may start anything",
            next_step=f"move it elsewhere: gcloud compute instances remove-metadata VM --keys={theirs[0]}",
        )


def declared(metadata: Mapping[str, str]) -> str:
    """The declaration's text; of a move that was cut off, the one that it has kept."""
    return metadata.get(KEPT) or metadata[KEY]


def secret_variables(declaration: Declaration) -> list[str]:
    """Those that look like secrets: nothing for a repository."""
    return [one.name for one in declaration.spec.container.env if SECRET.search(one.name)]


def _lost(name: str, was: str, becomes: str) -> Choice:
    return Choice(name, was, becomes, loses=True)


def _network(port: int, public_port: int) -> Choice:
    return Choice(
        "network",
        "the host's: every port it listens on was open",
        f"port {port} of the container, at the edge's {public_port}; no other is open",
    )


def _variable(name: str) -> Choice:
    if SECRET.search(name):
        return _lost(
            f"env.{name}", "in plain metadata", "still in plain metadata: better a secret (run.secrets)"
        )
    return Choice(f"env.{name}", "set", "the same (run.env)")


def _volume(one: Carried) -> Choice:
    name = f"volume.{one.name}"
    if one.volume is None:
        return _lost(name, one.was, f"nothing: {one.why_not}")
    return Choice(name, one.was, f"the same (run.volumes: {_essence(one.volume)})")


def _essence(volume: Volume) -> str:
    said = volume.model_dump(exclude_defaults=True)
    return ", ".join(f"{key} {str(value).lower() if value is True else value}" for key, value in said.items())


def _restart(policy: str) -> Choice:
    if policy == "Always":
        return Choice("restart", policy, "always: the agent brings it back")
    return _lost("restart", policy, "always: the agent brings it back")
