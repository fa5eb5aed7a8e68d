"""`model-deploy provision` and `doctor --environment` against the sandbox."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from typer.testing import CliRunner

from deployments import stack
from deployments.cli import app
from releases.problem import BadInput
from releases.provisioning.described import CloudEnvironment
from releases.provisioning.resources import user_data
from sandbox.world import Settings
from tests.deployments.conftest import PrefectServer
from tests.http_server import json_answer, serving
from tests.provisioned import DESCRIBED, SECTION, Provisioned
from tests.sandbox.conftest import start

MODELS = DESCRIBED.models_bucket
VM = ("sandbox", DESCRIBED.zone, DESCRIBED.vms[0])
STARTED_IN_THE_UI = """
from flows.provision import provision
from releases.problem import Refused
print(provision(environment="staging").waiting, "waits")
try:
    provision(environment="staging", approve="stale")
except Refused as refused:
    print(refused.got)
"""


@dataclass
class Described:
    """An environments' file that leads to a sandbox."""

    there: Provisioned
    file: Path

    def run(self, *words: str) -> str:
        done = CliRunner().invoke(app, [*words, "-e", "staging", "--file", str(self.file)])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output


SAVE_CREDENTIALS = """
import json, sys
from prefect_gcp import GcpCredentials
GcpCredentials(service_account_info=json.load(sys.stdin)).save("owner", overwrite=True)
"""


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Described]:
    before = dict(os.environ)
    monkeypatch.setenv("MODEL_DEPLOY_HOME", str(tmp_path / "home"))
    for cloud in start(Settings(pending_seconds=0.002, running_seconds=0.002)):
        (tmp_path / "token").write_text(cloud.at.token)
        section = {**SECTION, "endpoint": cloud.at.api, "access_token_file": str(tmp_path / "token")}
        file = tmp_path / "environments.yaml"
        file.write_text(yaml.safe_dump({"environments": {"staging": {"cloud": section}}}))
        yield Described(Provisioned(cloud), file)
    os.environ.clear()
    os.environ.update(before)  # a command says there which server Prefect has


def test_a_plan_changes_nothing_and_says_so(described: Described) -> None:
    said = described.run("provision")
    assert f"+ create bucket {MODELS}" in said
    assert described.run("provision", "--print-user-data") == user_data(DESCRIBED)
    assert "nothing was changed; --yes applies the plan" in said
    assert not described.there.cloud.world.buckets
    found = json.loads(described.run("provision", "--json"))
    assert {one["action"] for one in found["changes"]} == {"create", "change"}
    assert found["done"] == []
    assert f"gcloud storage buckets create gs://{MODELS}" in described.run("provision", "--print-gcloud")
    assert not described.there.cloud.world.buckets


def test_doctor_says_what_is_off_and_what_to_type(described: Described) -> None:
    there, world = described.there, described.there.cloud.world
    there.apply()
    looked_at: list[dict[str, Any]] = json.loads(described.run("doctor", "--json"))
    assert [one for one in looked_at if not one["ok"]] == []
    for what in ("uniform access", "public access prevention", "retention", "soft delete"):
        assert any(one["what"] == f"{what} of {MODELS}" for one in looked_at)

    bucket = world.buckets[MODELS]
    bucket.resource["iamConfiguration"]["publicAccessPrevention"] = "inherited"
    del bucket.resource["retentionPolicy"]
    world.buckets[DESCRIBED.data_bucket].resource["versioning"] = {"enabled": False}
    bucket.policy["bindings"].append({"role": "roles/storage.objectViewer", "members": ["allUsers"]})
    node = {"role": "roles/storage.objectAdmin", "members": [f"serviceAccount:{DESCRIBED.node}"]}
    bucket.policy["bindings"].append(node)
    world.account_keys[DESCRIBED.builder] = [{"name": f"projects/p/serviceAccounts/x/keys/{'a' * 8}"}]
    off = [one for one in json.loads(described.run("doctor", "--json")) if not one["ok"]]
    assert {one["what"]: one["fix"] for one in off} == {
        f"public access prevention of {MODELS}": [
            (
                f"gcloud storage buckets update gs://{MODELS} --uniform-bucket-level-access"
                " --public-access-prevention --quiet --project=sandbox"
            )
        ],
        f"retention of {MODELS}": [
            f"gcloud storage buckets update gs://{MODELS} --retention-period=7776000s --quiet --project=sandbox"
        ],
        f"versioning of {DESCRIBED.data_bucket}": [
            f"gcloud storage buckets update gs://{DESCRIBED.data_bucket} --versioning --quiet --project=sandbox"
        ],
        f"rights on bucket {MODELS}": [
            (
                f"gcloud storage buckets remove-iam-policy-binding gs://{MODELS}"
                f" --member=serviceAccount:{DESCRIBED.node} --role=roles/storage.objectAdmin --condition=None"
                " --quiet --project=sandbox"
            )
        ],
        f"nobody unknown reads {MODELS}": [
            (
                f"gcloud storage buckets remove-iam-policy-binding gs://{MODELS} --condition=None"
                " --member=allUsers --role=roles/storage.objectViewer --project=sandbox"
            )
        ],
        f"no key of {DESCRIBED.builder}": [
            (
                f"gcloud iam service-accounts keys delete aaaaaaaa --iam-account={DESCRIBED.builder}"
                " --project=sandbox"
            )
        ],
    }
    said = described.run("doctor")
    assert f"OFF  retention of {MODELS}: off, not" in said
    assert "next: gcloud storage buckets update" in said


def test_the_documented_description_is_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "provision.md").read_text(encoding="utf-8")
    example = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])["environments"]
    cloud = CloudEnvironment.model_validate({"name": "staging", **example["staging"]["cloud"]})
    assert cloud.vms == ("staging-node-1", "staging-node-2")


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"zone": "somewhere"}, "`zone` is not right"),
        ({"surprise": 1}, "unknown key `surprise`"),
        ({"acess_token_file": "/x"}, "did you mean `access_token_file`"),
        ({"machines": {"cuont": 2}}, "did you mean `count`"),
        ({"access_token_file": "/nowhere"}, "the access token cannot be read"),
        (None, "staging is no environment in Google Cloud"),
    ],
)
def test_a_mistake_is_told(described: Described, section: dict[str, Any] | None, says: str) -> None:
    file = yaml.safe_load(described.file.read_text())
    if section is None:
        del file["environments"]["staging"]["cloud"]
    else:
        file["environments"]["staging"]["cloud"].update(section)
    described.file.write_text(yaml.safe_dump(file))
    with pytest.raises(BadInput, match=says):
        described.run("provision")


def test_applied_on_yes_and_then_a_no_op(described: Described, prefect_server: PrefectServer) -> None:
    def provision(*words: str) -> "subprocess.CompletedProcess[str]":
        return prefect_server.model_deploy(
            "provision", "-e", "staging", "--file", str(described.file), *words
        )

    first = provision("--yes")
    assert first.returncode == 0, first.stderr
    assert "33 done; the environment staging is as described" in first.stdout
    assert described.there.todo() == []
    again = provision("--yes", "--json")
    assert json.loads(again.stdout)["done"] == []
    runs = prefect_server.runs()
    assert [one["name"] for one in runs if one["name"].startswith("provision")] == ["provision staging"]

    described.there.cloud.world.instances[VM].resource["status"] = "TERMINATED"
    done = subprocess.run(
        [sys.executable, "-c", STARTED_IN_THE_UI],
        env={**prefect_server.environment, **stack.environment(prefect_server.home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "1 waits" in done.stdout, done.stderr
    assert "approval of stale" in done.stdout
    assert described.there.todo() == [f"vm {VM[2]}"]


def test_credentials_that_are_named_come_from_prefects_server(
    described: Described, prefect_server: PrefectServer
) -> None:
    with tokens(described.there.cloud.at.token) as token_uri:
        key = rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        account = {
            "type": "service_account",
            "client_email": "owner@sandbox.iam.gserviceaccount.com",
            "private_key": key.decode(),
            "token_uri": token_uri,
        }
        saved = subprocess.run(
            [sys.executable, "-c", SAVE_CREDENTIALS],
            env={**prefect_server.environment, **stack.environment(prefect_server.home)},
            input=json.dumps(account),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert saved.returncode == 0, saved.stderr
        file = yaml.safe_load(described.file.read_text())
        del file["environments"]["staging"]["cloud"]["access_token_file"]
        file["environments"]["staging"]["cloud"]["credentials"] = "owner"
        described.file.write_text(yaml.safe_dump(file))
        words = ("-e", "staging", "--file", str(described.file), "--json")
        planned = prefect_server.model_deploy("provision", *words)
        assert planned.returncode == 0, planned.stderr
        assert json.loads(planned.stdout)["changes"]
        looked_at = prefect_server.model_deploy("doctor", *words)
        assert json.loads(looked_at.stdout), looked_at.stderr


@contextmanager
def tokens(token: str) -> Iterator[str]:
    """Google's token endpoint for service accounts, which gives everybody this token."""
    answer = json_answer({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})
    with serving(lambda _: answer) as address:
        yield f"{address}/token"
