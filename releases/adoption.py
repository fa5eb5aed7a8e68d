"""Moving a VM from Google's container startup agent to ours: what becomes of each thing it was told."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from releases.adopted_run import Carried, carried_volumes, is_secret, tells_a_secret
from releases.container_declaration import KEY, Declaration
from releases.node_boot import ADOPTED_KEY, DESIRED_KEY
from releases.problem import Failed, Refused

USER_DATA = "user-data"
OURS = (USER_DATA, DESIRED_KEY, KEY)  # what an adoption changes


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
    found += _words("command", container.command, "run.entrypoint")
    found += _words("args", container.args, "run.command")
    found += [_variable(one.name, one.value) for one in container.env]
    found += [_volume(one) for one in carried_volumes(spec)]
    found.append(_restart(spec.restartPolicy))
    if container.securityContext.privileged:
        found.append(Choice("privileged", "yes", "yes: all rights on the VM (run.privileged)"))
    for name, used in (("stdin", container.stdin), ("tty", container.tty)):
        if used:
            found.append(_lost(name, "yes", "no: a service has no terminal"))
    found.append(Choice("logs", "500m x 3, and Cloud Logging", "10m x 5, exported to the bucket (run.logs)"))
    parts = [declaration, spec, container, container.securityContext, *spec.volumes]
    parts += [*container.env, *container.volumeMounts]
    unknown = sorted({name for part in parts for name in part.unknown})
    return found + [_lost(name, "set", "nothing: no such thing is known here") for name in unknown]


def machine(scopes: Collection[str], metadata: Mapping[str, str]) -> list[Choice]:
    """What stays of the VM itself and limits the agent. `scopes`: its service account's, as URLs.

    https://cloud.google.com/compute/docs/access/service-accounts#scopes_best_practice
    """
    said, found = ", ".join(sorted(one.rpartition("/")[2] for one in scopes)), []
    if not any(one.endswith("/cloud-platform") for one in scopes):
        becomes = (
            "the same: the agent reads no secrets, and may not pull, fetch models or keep logs; with the VM "
            "off, gcloud compute instances set-service-account VM --scopes=cloud-platform"
        )
        found.append(Choice("access scopes", said or "no service account", becomes))
    if metadata.get("enable-guest-attributes", "").upper() != "TRUE":
        becomes = (
            "the same: no hint of the status there; add-metadata VM --metadata=enable-guest-attributes=TRUE"
        )
        found.append(Choice("guest attributes", "off", becomes))
    return found


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


def kept(metadata: Mapping[str, str]) -> str:
    """What to keep under `ADOPTED_KEY`: whoever dies half-way has lost nothing."""
    return json.dumps({key: metadata[key] for key in OURS if key in metadata})


def before(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata as it was before an adoption that was cut off, or as it is. Raises Failed."""
    if ADOPTED_KEY not in metadata:
        return dict(metadata)
    theirs = {key: value for key, value in metadata.items() if key not in {*OURS, ADOPTED_KEY}}
    try:
        return {
            **theirs,
            **{str(key): str(value) for key, value in json.loads(metadata[ADOPTED_KEY]).items()},
        }
    except (ValueError, AttributeError) as error:
        raise Failed("what was kept of the VM cannot be read", f"metadata key {ADOPTED_KEY}") from error


def check_metadata(metadata: Mapping[str, str]) -> None:
    """See that the VM is one to be moved. Raises Refused."""
    if KEY not in metadata:
        raise Refused(f"the VM has no {KEY}: there is nothing to adopt", next_step="model-deploy provision")
    theirs = [name for name in (USER_DATA, "startup-script") if name in metadata]
    if theirs:
        raise Refused(
            f"the VM's metadata has a {theirs[0]} of its own",
            expected="none: the agent is started by user-data, and a startup script may start anything",
            next_step=f"move it elsewhere: gcloud compute instances remove-metadata VM --keys={theirs[0]}",
        )


def _lost(name: str, was: str, becomes: str) -> Choice:
    return Choice(name, was, becomes, loses=True)


def _network(port: int, public_port: int) -> Choice:
    return Choice(
        "network",
        "the host's: every port it listens on was open",
        f"port {port} of the container, at the edge's {public_port}; no other is open",
    )


def _variable(name: str, value: str) -> Choice:
    if is_secret(name, value):
        return _lost(
            f"env.{name}", "in plain metadata", "still in plain metadata: better a secret (run.secrets)"
        )
    return Choice(f"env.{name}", "set", "the same (run.env)")


def _words(name: str, words: list[str], field: str) -> list[Choice]:
    if tells_a_secret(words):
        still = f"still in plain metadata ({field}): better a secret (run.secrets)"
        return [_lost(name, "in plain metadata, with a secret as it seems", still)]
    return [Choice(name, " ".join(words), f"the same ({field})")] if words else []


def _volume(one: Carried) -> Choice:
    name = f"volume.{one.mount.name}"
    if one.volume is None:
        return _lost(name, one.was, f"nothing: {one.why}")
    source = "disk, mounted by the engine" if one.volume.disk else "tmpfs" if one.volume.tmpfs else "folder"
    mode = ", read-only" if one.volume.read_only else ""
    return Choice(name, one.was, f"the same {source}{mode} (run.volumes)")


def _restart(policy: str) -> Choice:
    if policy == "Always":
        return Choice("restart", policy, "always: the agent brings it back")
    return _lost("restart", policy, "always: the agent brings it back")
