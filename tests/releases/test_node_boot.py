"""The user-data that boots a VM into a node."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml

from releases.node_boot import NodeBoot, node_user_data
from releases.problem import BadInput

BOOT = NodeBoot(
    agent_image="europe-west1-docker.pkg.dev/p/r/agent@sha256:" + "a" * 64,
    edge_image="europe-west1-docker.pkg.dev/p/r/haproxy@sha256:" + "b" * 64,
    registry="europe-west1-docker.pkg.dev",
    ports=(80, 8081),
    bucket="p-logs",
)
SCHEMA = "usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json"


def written(boot: NodeBoot) -> dict[str, str]:
    """Path → content."""
    return {file["path"]: file["content"] for file in yaml.safe_load(node_user_data(boot))["write_files"]}


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """cloud-init's own, out of Debian's package: installed, it would run at this machine's next boot."""
    installed = Path("/") / SCHEMA
    if not installed.exists():
        folder = tmp_path_factory.mktemp("cloud-init")
        if not shutil.which("apt-get"):
            pytest.skip("cloud-init's schema comes from Debian's package, and there is no apt-get here")
        fetched = subprocess.run(
            ["apt-get", "download", "cloud-init"], cwd=folder, capture_output=True, text=True, check=False
        )
        packages = list(folder.glob("cloud-init_*.deb"))
        if not packages:
            pytest.skip(f"Debian's package cloud-init cannot be fetched: {fetched.stderr.strip()[-200:]}")
        subprocess.run(["dpkg-deb", "-x", packages[0], folder / "x"], check=True)
        installed = folder / "x" / SCHEMA
    return json.loads(installed.read_text())


@pytest.mark.parametrize("gpu", [False, True])
def test_cloud_inits_own_schema_accepts_it(schema: dict, gpu: bool) -> None:
    text = node_user_data(replace(BOOT, gpu=gpu))
    assert text.startswith("#cloud-config\n")
    jsonschema.Draft4Validator(schema).validate(yaml.safe_load(text))


def test_the_schema_refuses_what_cloud_init_would_not_read(schema: dict) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(schema).validate({"write_files": [{"content": "no path"}]})


def test_the_files_arrive_as_they_are(tmp_path: Path) -> None:
    files = written(BOOT)
    assert "EDGE_PORTS=80,8081\n" in files["/etc/model-deploy/node.env"]
    assert "TLS" not in files["/etc/model-deploy/node.env"]
    assert "EDGE_TLS_PORTS=443\n" in written(replace(BOOT, tls_ports=(443,)))["/etc/model-deploy/node.env"]
    script = tmp_path / "node.sh"
    script.write_text(files["/etc/model-deploy/node.sh"])
    subprocess.run(["bash", "-n", script], check=True)


def test_a_gpu_has_its_driver_installed_at_every_boot_and_others_have_not() -> None:
    gpu = "/etc/systemd/system/model-deploy-gpu.service"
    assert gpu not in written(BOOT)
    with_gpu = replace(BOOT, gpu=True)
    assert "cos-extensions install gpu" in written(with_gpu)[gpu]
    assert "remount,exec /var/lib/nvidia" in written(with_gpu)[gpu]
    assert "GPU_DRIVER=/var/lib/nvidia\n" in written(with_gpu)["/etc/model-deploy/node.env"]
    assert "GPU_DRIVER" not in written(BOOT)["/etc/model-deploy/node.env"]
    assert (
        "systemctl start --no-block model-deploy-gpu.service"
        in yaml.safe_load(node_user_data(with_gpu))["runcmd"]
    )


STUB = r"""#!/bin/bash
echo "$(basename "$0") $*" >>"$CALLS"
answer() { # the first code to the first who asks, and so on; the last one to all others
  local asked
  asked=$(grep -c "attributes/.*$1\$" "$CALLS")
  shift
  [ "$asked" -gt $# ] && asked=$#
  printf %s "${!asked}"
}
case "$(basename "$0") $*" in
  curl*gce-container-declaration) answer declaration $DECLARATION ;;
  curl*model-deploy-adopted) answer adopted $ADOPTED ;;
  curl*model-deploy-agent) [ -n "${UPGRADE:-}" ] && printf %s "$UPGRADE" || exit 22 ;;
  "docker "*"${MISSING:-none}") exit 1 ;;
  "docker ps"*label*) echo 123abc ;;
  "docker ps"*) echo klt-iris-abcd ;;
  "docker network inspect --format"*) echo 172.31.0.0/24 ;;
  "docker info"*) echo /var/lib/docker ;;
esac
"""


def calls_of_node_sh(folder: Path, **given: str) -> tuple[list[str], str]:
    """What the script calls, and what it says, with made-up programs around it."""
    script, calls = folder / "node.sh", folder / "calls"
    script.write_text(written(BOOT)["/etc/model-deploy/node.sh"])
    for name in ("docker", "curl", "docker-credential-gcr", "sleep"):
        (folder / name).write_text(STUB)
        (folder / name).chmod(0o755)
    settings = dict(line.split("=", 1) for line in written(BOOT)["/etc/model-deploy/node.env"].split())
    own = {"NODE": "a", "BOOT": "1", "STATE_DIRECTORY": str(folder), "CALLS": str(calls), "ADOPTED": "404"}
    environment = {**settings, **own, **given, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", script], env=environment, check=True, capture_output=True, text=True)
    return calls.read_text().splitlines(), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("declaration", "removed"), [("404", True), ("503 000 404", True), ("200", False), ("503", False)]
)
def test_what_the_startup_agent_left_is_removed_before_the_agent_starts(
    tmp_path: Path, declaration: str, removed: bool
) -> None:
    """Not while the VM has a declaration, or may have one: then it is that agent's."""
    calls, said = calls_of_node_sh(tmp_path, DECLARATION=declaration)
    assert calls[-1].startswith("docker run --rm --init --name a-agent")
    assert ("docker rm --force klt-iris-abcd" in calls) is removed
    assert ("removing klt-iris-abcd, which the container startup agent had started" in said) is removed
    if removed:
        assert "docker ps --all --filter name=^klt- --format {{.Names}}" in calls


def test_a_vm_that_is_given_back_is_left_to_the_startup_agent_without_our_containers(tmp_path: Path) -> None:
    calls, said = calls_of_node_sh(tmp_path, DECLARATION="503 200", ADOPTED="000 503 200")
    assert calls[-3:] == [
        "docker ps --all --quiet --filter label=model-deploy.node=a",
        "docker rm --force 123abc",
        "sleep infinity",
    ]
    assert "leaving the VM to the container startup agent" in said


def test_an_agent_that_cannot_be_pulled_at_a_boot_leaves_the_one_that_is_there(tmp_path: Path) -> None:
    calls, _ = calls_of_node_sh(tmp_path, DECLARATION="404", UPGRADE="other/agent")
    assert " --image other/agent" in calls[-1]
    calls, said = calls_of_node_sh(tmp_path, DECLARATION="404", UPGRADE="other/agent", MISSING="other/agent")
    assert f" --image {BOOT.agent_image}" in calls[-1]
    assert "the agent other/agent, which the metadata names, cannot be pulled" in said


@pytest.mark.parametrize(
    "wrong",
    [
        {"agent_image": "agent:1\nEVIL=1"},
        {"registry": "host with blanks"},
        {"bucket": "Bucket"},
        {"ports": ()},
        {"ports": (0,)},
        {"ports": (70000,)},
        {"tls_ports": (80,)},
    ],
)
def test_what_systemd_would_misread_is_refused(wrong: dict) -> None:
    with pytest.raises(BadInput, match="cannot boot with these settings"):
        node_user_data(replace(BOOT, **wrong))
