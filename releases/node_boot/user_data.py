"""The user-data of a node, as pure text: the same settings always give the same bytes, so drift shows."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files
from textwrap import indent

from releases.problem import BadInput

DESIRED_KEY = "model-deploy"  # metadata: releases.desired.Desired as JSON, written by controllers
AGENT_IMAGE_KEY = "model-deploy-agent"  # metadata: another agent's image takes over without a reboot
# metadata: what the VM was before it was adopted, from the first change until the service is live
ADOPTED_KEY = "model-deploy-adopted"
DECLARATION_KEY = "gce-container-declaration"  # metadata: what Google's container startup agent runs

_FOLDER = "/etc/model-deploy"
_GPU_DRIVER = "/var/lib/nvidia"  # where cos-extensions puts it
_UNITS = "/etc/systemd/system"
_IMAGE = re.compile(r"[a-z0-9][\w.:/@-]*")
_HOST = re.compile(r"[a-z0-9][a-z0-9.:-]*")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


@dataclass(frozen=True)
class NodeBoot:
    """What differs from node to node. Nothing of it is secret: every process on a VM can read user-data."""

    agent_image: str  # pulled once; `repository@sha256:…`
    edge_image: str  # HAProxy 2.6 or newer
    registry: str  # Artifact Registry's host, such as europe-west1-docker.pkg.dev
    ports: tuple[int, ...]  # the edge's; each answers /_model-deploy/status, with a service on it or not
    bucket: str = ""  # for log segments and the edge's counts; empty: no log is followed
    models_bucket: str = ""  # where models are fetched from; empty: only those in images are served
    tls_ports: tuple[int, ...] = ()  # the edge's, where TLS ends
    gpu: bool = False  # install the driver at boot, and tell the agent where it is


def node_user_data(boot: NodeBoot) -> str:
    """`#cloud-config` that lays everything down at every boot: /etc is empty after each. Raises BadInput.

    The machine's own `/etc/default/model-deploy`, if there is one, may say GCE_METADATA_HOST,
    AGENT_ARGUMENTS (private endpoints, `python -m agent --help`) and OLD_CONTAINERS (a pattern of names,
    where several VMs share one engine).
    https://cloud.google.com/container-optimized-os/docs/how-to/create-configure-instance
    """
    _check(boot)
    units = ["model-deploy-gpu.service"] if boot.gpu else []
    units += ["model-deploy.service"]
    written = [
        _file(f"{_FOLDER}/node.env", _environment(boot)),
        _file(f"{_FOLDER}/node.sh", _text("node.sh")),
        *(_file(f"{_UNITS}/{unit}", _text(unit)) for unit in units),
    ]
    lines = ["#cloud-config", "write_files:", *written, "runcmd:", "- systemctl daemon-reload"]
    # No wait for the driver: whatever needs no GPU is served meanwhile.
    return "\n".join([*lines, *(f"- systemctl start --no-block {unit}" for unit in units)]) + "\n"


def given_back(attributes: Collection[str]) -> bool:
    """Whether an adoption is being taken back: it has not ended, and the old key is there again."""
    return {ADOPTED_KEY, DECLARATION_KEY} <= set(attributes)


def _environment(boot: NodeBoot) -> str:
    values = {
        "AGENT_IMAGE": boot.agent_image,
        "EDGE_IMAGE": boot.edge_image,
        "REGISTRY": boot.registry,
        "EDGE_PORTS": ",".join(str(port) for port in boot.ports),
        "BUCKET": boot.bucket,
        "MODELS_BUCKET": boot.models_bucket,
    }
    if boot.tls_ports:
        values["EDGE_TLS_PORTS"] = ",".join(str(port) for port in boot.tls_ports)
    if boot.gpu:
        values["GPU_DRIVER"] = _GPU_DRIVER
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _file(path: str, content: str) -> str:
    head = f'- path: {path}\n  owner: root\n  permissions: "0644"\n  content: |\n'
    return head + indent(content, "    ").rstrip("\n")


def _text(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _check(boot: NodeBoot) -> None:
    """The values end up in a file that systemd reads: no blanks, no quotes, no lines."""
    wrong = [
        f"{name}={value!r}"
        for name, value, pattern in (
            ("agent_image", boot.agent_image, _IMAGE),
            ("edge_image", boot.edge_image, _IMAGE),
            ("registry", boot.registry, _HOST),
            ("bucket", boot.bucket, _BUCKET),
            ("models_bucket", boot.models_bucket, _BUCKET),
        )
        if not pattern.fullmatch(value) and (value or pattern is not _BUCKET)
    ]
    every = [*boot.ports, *boot.tls_ports]
    if not boot.ports or not all(0 < port < 1 << 16 for port in every) or len(set(every)) != len(every):
        wrong.append(f"ports={boot.ports!r}, tls_ports={boot.tls_ports!r}")
    if wrong:
        raise BadInput(
            "a node cannot boot with these settings",
            expected="images, a registry's host, a bucket's name, ports from 1 to 65535, each once",
            got=", ".join(wrong),
        )
