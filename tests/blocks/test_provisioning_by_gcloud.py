"""What `--print-gcloud` prints, run by the real gcloud against the sandbox."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from releases.provisioning.gcloud import script
from releases.provisioning.wanted import Action, Kind, Plan
from sandbox.world import Settings
from tests.provisioned import DESCRIBED, Provisioned
from tests.sandbox.conftest import start

GCLOUD = shutil.which("gcloud")
ENDPOINTS = {"COMPUTE": "compute/v1/", "STORAGE": "storage/v1/"}
TRIED = {
    f"bucket {DESCRIBED.data_bucket}",
    f"rights bucket {DESCRIBED.data_bucket}",
    "firewall staging-services",
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
        (tmp_path / "token").write_text(cloud.at.token)
        overrides = {
            f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}": f"{cloud.at.api}/{path}"
            for name, path in ENDPOINTS.items()
        }
        environment = {
            **os.environ,
            **overrides,
            "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(tmp_path / "token"),
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            "TMPDIR": str(tmp_path),
        }
        text = "\n".join(script(DESCRIBED, tried))
        done = subprocess.run(
            ["sh", "-c", text], env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr
        now = {str(one.key): one.action for one in there.plan().changes}
        assert {key: now[key] for key in TRIED} == dict.fromkeys(TRIED, Action.unchanged)
