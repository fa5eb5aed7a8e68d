"""What `--print-gcloud` prints, run by the real gcloud against the sandbox."""

import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from releases.provisioning.gcloud import script
from releases.provisioning.wanted import Action, Kind, Plan
from sandbox.server import running
from sandbox.world import Settings, World
from tests.provisioned import DESCRIBED, Provisioned
from tests.sandbox.conftest import ZONE, Cloud, start

GCLOUD = shutil.which("gcloud")
ENDPOINTS = {"COMPUTE": "compute/v1/", "STORAGE": "storage/v1/"}
TRIED = {
    f"bucket {DESCRIBED.data_bucket}",
    f"rights bucket {DESCRIBED.data_bucket}",
    "firewall staging-services",
}


def gcloud_at(cloud: Cloud, folder: Path) -> dict[str, str]:
    """The variables that point gcloud at the sandbox."""
    (folder / "token").write_text(cloud.at.token)
    overrides = {
        f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}": f"{cloud.at.api}/{path}"
        for name, path in ENDPOINTS.items()
    }
    return {
        **os.environ,
        **overrides,
        "CLOUDSDK_CONFIG": str(folder / "gcloud"),
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(folder / "token"),
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_PROJECT": cloud.project,
        "TMPDIR": str(folder),
    }


@pytest.mark.skipif(GCLOUD is None, reason="gcloud is not installed")
def test_gcloud_makes_what_the_plan_says(tmp_path: Path) -> None:
    for cloud in start(Settings(pending_seconds=0.002, running_seconds=0.002)):
        there = Provisioned(cloud)
        provisioner = there.provisioner()
        for change in provisioner.plan().todo:
            if change.key.kind is Kind.api:
                provisioner.bring(change.wanted)
        tried = Plan(tuple(one for one in provisioner.plan().todo if str(one.key) in TRIED))
        assert len(tried.changes) == len(TRIED)
        environment = gcloud_at(cloud, tmp_path)
        text = "\n".join(script(DESCRIBED, tried))
        done = subprocess.run(
            ["sh", "-c", text], env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr
        now = {str(one.key): one.action for one in there.plan().changes}
        assert {key: now[key] for key in TRIED} == dict.fromkeys(TRIED, Action.unchanged)


@pytest.mark.skipif(GCLOUD is None, reason="gcloud is not installed")
def test_what_people_type_about_their_vms(tmp_path: Path) -> None:
    def gcloud(*argv: str) -> str:
        given = ["gcloud", "compute", "instances", *argv]
        done = subprocess.run(
            given, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    world = World(Settings(pending_seconds=0.002, running_seconds=0.002))
    # Nobody looks over its shoulder: it sends `returnPartialSuccess`, which the description we have lacks.
    with running(world) as at:
        cloud = Cloud(world, at)
        environment, here = gcloud_at(cloud, tmp_path), f"--zone={ZONE}"
        image = ["--image-project=cos-cloud", "--image-family=cos-stable"]
        labels = ["--metadata=enable-guest-attributes=TRUE", "--labels=service=iris"]
        gcloud("create", "vm-a", here, "--machine-type=e2-standard-4", *image, *labels)
        gcloud("add-metadata", "vm-a", here, "--metadata=foo=bar")
        said = gcloud("describe", "vm-a", here, "--format=value(status,metadata.items)")
        assert "RUNNING" in said
        assert "'foo', 'value': 'bar'" in said
        vm = cloud.world.instances[cloud.project, ZONE, "vm-a"]
        server = f"http://{vm.address}:{cloud.world.network.port}/computeMetadata/v1"
        url = f"{server}/instance/guest-attributes/ours/state"
        httpx.put(url, content="live", headers={"Metadata-Flavor": "Google"}).raise_for_status()
        assert "live" in gcloud("get-guest-attributes", "vm-a", here)
        for wanted, found in [("labels.service=iris", "vm-a\n"), ("labels.service=other", "")]:
            assert gcloud("list", f"--filter={wanted}", "--format=value(name)") == found
