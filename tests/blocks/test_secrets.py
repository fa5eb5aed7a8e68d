"""The environment's secrets beside the controller: files on this machine, Secret Manager on the sandbox."""

import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.secret_manager import SecretManager
from blocks.secrets import SecretFiles, Secrets
from blocks.targets.compute_engine import ComputeEngineInstances
from releases.problem import Problem
from sandbox.world import Settings
from tests.provisioned import DESCRIBED, Provisioned
from tests.sandbox.conftest import start

(NAME,) = DESCRIBED.certificates


@pytest.fixture
def there() -> Iterator[Provisioned]:
    for cloud in start(Settings(pending_seconds=0.002, running_seconds=0.002)):
        made = Provisioned(cloud)
        made.apply()
        yield made


def manager(there: Provisioned, folder: Path, email: str = "") -> SecretManager:
    """As a target of this account has it, or of the project's owner."""
    token = there.as_(email)["Authorization"].partition(" ")[2] if email else there.cloud.at.token
    (folder / "token").write_text(token)
    target = ComputeEngineInstances(
        project="sandbox",
        zones=["europe-west1-b"],
        access_token_file=folder / "token",
        secrets_endpoint=there.cloud.at.api,
    )
    assert isinstance(target.secrets, SecretManager)
    return target.secrets


def try_all(secrets: Secrets) -> None:
    assert secrets.read(NAME) is None
    secrets.add(NAME, "first")
    assert secrets.read(NAME) == "first"
    secrets.add(NAME, "second\n")
    assert secrets.read(NAME) == "second\n"
    account = "staging-acme-account"
    assert secrets.once(account, "mine") == "mine"
    assert secrets.once(account, "yours") == "mine"
    assert secrets.read(account) == "mine"


def test_files_are_replaced_whole_and_read_by_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    try_all(SecretFiles(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == {0o600}
    assert len(list(folder.iterdir())) == 2, "nothing is left beside them"


def test_of_many_who_write_first_all_go_on_with_one(tmp_path: Path) -> None:
    got: list[str] = []
    ready = threading.Barrier(8)

    def write(value: str) -> None:
        ready.wait(10)
        got.append(SecretFiles(tmp_path).once("account", value))

    threads = [threading.Thread(target=write, args=[f"key {one}"]) for one in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(10)
    assert len(got) == 8
    assert len(set(got)) == 1


def test_the_deployer_writes_and_reads_versions(there: Provisioned, tmp_path: Path) -> None:
    try_all(manager(there, tmp_path, DESCRIBED.deployer))


def test_what_is_missing_is_named_with_the_command_that_mends_it(there: Provisioned, tmp_path: Path) -> None:
    deployer = manager(there, tmp_path, DESCRIBED.deployer)
    with pytest.raises(Problem, match=r"read the secret database: not allowed") as refused:
        deployer.read("database")
    assert refused.value.next_step == (
        "name it under `cloud.certificates`, then: model-deploy provision; or: gcloud secrets add-iam-policy-binding database --project=sandbox --member=(the worker's account) "
        "--role=roles/secretmanager.secretAccessor"
    )
    with pytest.raises(Problem, match=r"write the secret database: not allowed") as refused:
        deployer.add("database", "t0p-s3cr3t")
    assert refused.value.next_step.endswith("roles/secretmanager.secretVersionAdder")
    assert "t0p-s3cr3t" not in f"{refused.value}{refused.value.__cause__}"
    owner = manager(there, tmp_path)
    with pytest.raises(Problem, match="write the secret none-such: not found") as refused:
        owner.add("none-such", "x")
    assert refused.value.next_step == "name it under `cloud.certificates`, then: model-deploy provision"
