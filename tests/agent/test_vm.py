"""The real agent on VMs of the sandbox, booted from their user-data; one VM is shared."""

import base64
import json
import re
import subprocess
import time
from typing import Any

import httpx
import pytest

from agent.google.hint import KEY
from bench.vm import Vm
from blocks.edge import no_challenge
from deployments.load import Request, running
from releases import desired as desire
from releases.log_segment import SEGMENTS
from releases.node_boot import AGENT_IMAGE_KEY, DESIRED_KEY
from releases.status import CANDIDATE_HEADER, STATUS_PATH, Phase

pytestmark = pytest.mark.containers
SECRET = "s3cr3t-of-the-database"


def load(vm: Vm, **options: Any) -> Any:
    return running(Request(vm.boot.ports[0], host=vm.address), **options)


def guest_attribute(vm: Vm) -> dict[str, Any]:
    path = f"{vm.cloud.instances}/{vm.name}/getGuestAttributes?queryPath={KEY}"
    answer = vm.cloud.http.get(path)
    return json.loads(answer.json()["queryValue"]["items"][0]["value"]) if answer.is_success else {}


def test_a_release_is_verified_switched_and_confirmed_without_a_failed_request(vm: Vm) -> None:
    before = vm.live()
    with load(vm, rate=50) as requests:
        generation = vm.verified(vm.release())
        assert vm.live() == before
        marked = httpx.get(vm.url(), headers={CANDIDATE_HEADER: "t"}, timeout=5)
        assert marked.json()["release"] == str(vm.numbers)
        vm.change(lambda now: desire.shift(now, generation, 100))
        vm.until(lambda: vm.at(generation).phase is Phase.bake)
        vm.change(lambda now: desire.confirm(now, generation))
        vm.until(lambda: vm.at(generation).phase is Phase.live)
    assert requests.failures == []
    assert vm.live() == vm.numbers
    vm.until(lambda: guest_attribute(vm).get("services", {}).get("sample", {}).get("live") == vm.numbers)


def test_challenges_of_the_account_in_the_metadata_are_answered(vm: Vm) -> None:
    generation = vm.desired().of("sample").generation
    for account in ("first", "second"):
        vm.put(model_deploy=vm.desired().model_copy(update={"acme": account}).model_dump_json())
        vm.until(lambda account=account: not no_challenge(vm.url(), "token", account))
    vm.confirmed(vm.release())
    assert not no_challenge(vm.url(), "token", "second")
    assert vm.desired().of("sample").generation == generation + 1


def test_what_nobody_confirms_is_taken_back_by_the_node(vm: Vm) -> None:
    before = vm.live()
    with load(vm, rate=50) as requests:
        generation = vm.switched(vm.release(window=2))
        assert vm.live() == vm.numbers
        vm.until(lambda: vm.status().phase is Phase.reverted)
    assert requests.failures == []
    assert vm.live() == before
    assert "not confirmed" in vm.status().reverted[generation].reason


@pytest.mark.fault(18)
def test_an_agent_killed_during_the_swap_goes_on_and_one_killed_past_the_window_takes_back(vm: Vm) -> None:
    with load(vm, rate=50) as requests:
        generation = vm.proposed(vm.release())
        vm.kill_agent()  # while it starts or probes
        vm.until(lambda: vm.at(generation).phase is Phase.verify)
        vm.kill_agent()
        vm.change(lambda now: desire.shift(now, generation, 100))
        vm.until(lambda: vm.at(generation).phase is Phase.bake)
        vm.kill_agent()
        vm.change(lambda now: desire.confirm(now, generation))
        vm.until(lambda: vm.at(generation).phase is Phase.live)
        confirmed = vm.live()
        vm.switched(vm.release(window=6))
        ends = time.monotonic() + 6
        while time.monotonic() < ends:
            vm.kill_agent()
        vm.until(lambda: vm.live() == confirmed)
        vm.until(lambda: vm.status().phase is Phase.reverted)
        vm.until(lambda: len(vm.containers()) == 1)
    assert requests.failures == []


@pytest.mark.fault(21)
def test_a_reset_in_mid_swap_comes_back_with_what_was_confirmed(vm: Vm) -> None:
    before = vm.live()
    generation = vm.switched(vm.release(window=600))
    assert vm.live() == vm.numbers
    vm.power("reset")
    vm.until(lambda: generation in vm.status().reverted)
    vm.until(lambda: vm.live() == before)
    assert "reboot" in vm.status().reverted[generation].reason


def test_a_reboot_after_the_confirmation_needs_nobody_and_not_even_readable_metadata(vm: Vm) -> None:
    vm.confirmed(vm.release())
    good = vm.desired().model_dump_json()
    vm.put(model_deploy="{broken")
    vm.until(lambda: "cannot be read" in (status.problem if (status := vm.node_status()) else ""))
    vm.power("stop")
    assert vm.live() == 0
    vm.power("start")
    vm.until(lambda: vm.live() == vm.numbers)
    vm.until(lambda: "cannot be read" in (status.problem if (status := vm.node_status()) else ""))
    assert vm.status().confirmed == vm.numbers
    vm.put(model_deploy=good)
    vm.until(lambda: (status := vm.node_status()) is not None and not status.problem)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("[]", "cannot be read"),
        ('{"format": 2, "services": ["another", "shape"]}', "has format 2; this agent knows 1"),
    ],
)
def test_a_document_it_cannot_take_changes_nothing_and_is_reported(vm: Vm, document: str, said: str) -> None:
    good, before = vm.desired().model_dump_json(), vm.live()
    vm.put(model_deploy=document)
    vm.until(lambda: said in (status.problem if (status := vm.node_status()) else ""))
    assert vm.live() == before
    vm.put(model_deploy=good)
    vm.until(lambda: (status := vm.node_status()) is not None and not status.problem)


@pytest.mark.fault(23)
def test_a_metadata_server_that_is_away_delays_and_breaks_nothing(vm: Vm) -> None:
    for kind in ("unavailable", "rate_limit", "lost_request", "unavailable"):
        vm.cloud.fault(kind, path="/computeMetadata/*", vm=vm.name)
    vm.put(somebody="elses")  # ends the poll that waits
    with load(vm, rate=20) as requests:
        generation = vm.switched(vm.release())
        vm.change(lambda now: desire.confirm(now, generation))
        vm.until(lambda: vm.at(generation).phase is Phase.live)
    assert requests.failures == []


def test_other_keys_are_other_peoples(vm: Vm) -> None:
    before, generation = vm.live(), vm.desired().of("sample").generation
    vm.put(ssh_keys="somebody", startup_script="echo")
    vm.confirmed(vm.release())
    kept = {item["key"]: item["value"] for item in vm.resource["metadata"]["items"]}
    assert (kept["ssh-keys"], kept["startup-script"]) == ("somebody", "echo")
    assert (vm.live(), vm.desired().of("sample").generation) == (before + 1, generation + 1)
    vm.put(ssh_keys=None, startup_script=None)


def test_a_key_that_is_gone_takes_nothing_away(vm: Vm) -> None:
    good, before = vm.desired().model_dump_json(), vm.live()
    vm.put(model_deploy=None)
    vm.until(lambda: "is gone" in (status.problem if (status := vm.node_status()) else ""))
    assert vm.live() == before
    vm.put(model_deploy=good)


def secret(vm: Vm, name: str, *values: str) -> None:
    path = f"/v1/projects/{vm.cloud.at.project}/secrets"
    vm.cloud.call("POST", f"{path}?secretId={name}", json={"replication": {"automatic": {}}})
    for value in values:
        data = base64.b64encode(value.encode()).decode()
        vm.cloud.call("POST", f"{path}/{name}:addVersion", json={"payload": {"data": data}})
    member = f"serviceAccount:{vm.resource['serviceAccounts'][0]['email']}"
    binding = {"role": "roles/secretmanager.secretAccessor", "members": [member]}
    vm.cloud.call("POST", f"{path}/{name}:setIamPolicy", json={"policy": {"bindings": [binding]}})


def test_a_secret_is_in_its_container_and_nowhere_else(vm: Vm) -> None:
    secret(vm, "database", SECRET, "a newer one")
    vm.cloud.call("POST", "/sandbox/clock", json={"seconds": 4000})  # whatever token it held has expired
    vm.confirmed(vm.release(secrets={"DATABASE": "database/versions/1"}))
    container = f"{vm.host}-sample-r{vm.numbers}"
    assert SECRET in vm.docker("exec", container, "printenv", "DATABASE")
    others = {f"{vm.host}-agent", f"{vm.host}-edge"}

    def names() -> set[str]:
        every = vm.docker("ps", "-a", "--format", "{{.Names}}").split()
        return {name for name in every if name.startswith(f"{vm.host}-")}

    vm.until(lambda: names() == {container, *others})  # what served before is drained, and gone
    shown = {
        "inspect of the others": vm.docker("inspect", *others),
        "labels": vm.docker("inspect", "--format", "{{json .Config.Labels}}", container),
        "agent's log": vm.docker("logs", f"{vm.host}-agent"),
        "metadata": json.dumps(vm.resource),
        "status": httpx.get(vm.url() + STATUS_PATH, timeout=5).text,
        "guest attributes": json.dumps(guest_attribute(vm)),
        "console": vm.console,
        "what is on its disk": vm.docker(
            "exec", f"{vm.host}-agent", "sh", "-c", "cat /state/* /edge/* 2>/dev/null || true"
        ),
    }
    assert [where for where, text in shown.items() if SECRET in text] == []


def test_a_secret_that_may_not_be_read_says_what_to_type(vm: Vm) -> None:
    before = vm.live()
    generation = vm.proposed(vm.release(secrets={"PASSWORD": "missing"}))
    vm.until(lambda: generation in vm.status().reverted)
    failure = vm.status().reverted[generation]
    assert "the secret 'missing' cannot be read" in failure.reason
    assert failure.next_step.startswith("gcloud secrets ")
    assert vm.live() == before


def pushed_to(registry: str, vm: Vm, repository: str) -> str:
    """The sample service as an image that this engine has never pulled; the repository that it is in is new."""
    place = f"projects/{vm.cloud.at.project}/locations/europe-west1/repositories"
    vm.cloud.call("POST", f"/v1/{place}?repositoryId={repository}", json={"format": "DOCKER"})
    name = f"{vm.cloud.at.project}/{repository}/sample"
    text = f"FROM {vm.image}\nLABEL made-for={vm.host}"
    tag = f"{registry}/{name}:1"
    subprocess.run(["docker", "build", "-q", "-t", tag, "-"], input=text.encode(), check=True)
    vm.docker("push", "-q", tag)
    digest = (
        vm.docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", tag).strip().partition("@")[2]
    )
    vm.docker("image", "rm", tag)
    return f"{vm.cloud.registry}/{name}@{digest}"


def test_an_image_is_pulled_with_the_vms_token_and_a_right_that_is_missing_is_named(
    vm: Vm, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, account = vm.live(), vm.resource["serviceAccounts"][0]["email"]
    monkeypatch.setattr(vm, "image", pushed_to(registry, vm, "images"))
    generation = vm.proposed(vm.release())
    vm.until(lambda: generation in vm.status().reverted)
    failure = vm.status().reverted[generation]
    assert 'Permission "artifactregistry.repositories.downloadArtifacts" denied' in failure.reason
    assert failure.next_step == (
        "gcloud artifacts repositories add-iam-policy-binding images --project=sandbox "
        "--location=europe-west1 --member=(the VM's account) --role=roles/artifactregistry.reader"
    )
    assert vm.live() == before
    binding = {"role": "roles/artifactregistry.reader", "members": [f"serviceAccount:{account}"]}
    path = f"/v1/projects/{vm.cloud.at.project}/locations/europe-west1/repositories/images:setIamPolicy"
    vm.cloud.call("POST", path, json={"policy": {"bindings": [binding]}})
    vm.confirmed(vm.release())
    assert vm.live() == vm.numbers


def test_finished_log_segments_go_to_the_bucket(vm: Vm) -> None:
    account = vm.resource["serviceAccounts"][0]["email"]
    binding = {"role": "roles/storage.objectCreator", "members": [f"serviceAccount:{account}"]}
    vm.cloud.call("PUT", f"/storage/v1/b/{vm.boot.bucket}/iam", json={"bindings": [binding]})
    vm.cloud.fault("lost_response", method="POST", path="/upload/*", vm=vm.name)
    first = f"r{vm.live()}"
    vm.confirmed(vm.release())  # the container before is removed once its lines are in a segment

    def keys() -> list[str]:
        found = vm.cloud.call("GET", f"/storage/v1/b/{vm.boot.bucket}/o?prefix={SEGMENTS}").json()
        return [item["name"] for item in found.get("items", [])]

    vm.until(lambda: any(key.endswith(".jsonl.zst") for key in keys()), 90)
    assert all(f"/{vm.host}/" in key and "service=sample/environment=staging/" in key for key in keys()), (
        first
    )


def test_another_agent_takes_over_without_touching_what_serves(vm: Vm, agent_image: str) -> None:
    other = "model-deploy/agent-of-a-test:" + re.sub(r"\W", "", vm.host)
    vm.docker("tag", agent_image, other)
    try:
        serving = vm.docker("inspect", "--format", "{{.State.StartedAt}}", *vm.containers())
        with load(vm, rate=50) as requests:
            vm.put(model_deploy_agent=other)
            agent = f"{vm.host}-agent"
            vm.until(lambda: other in vm.docker("ps", "--filter", f"name={agent}", "--format", "{{.Image}}"))
            vm.until(lambda: (said := vm.node_status()) is not None and said.agent == other)
            vm.put(**{AGENT_IMAGE_KEY.replace("-", "_"): None})
            vm.until(lambda: vm.status().phase is Phase.live)
        assert requests.failures == []
        assert vm.docker("inspect", "--format", "{{.State.StartedAt}}", *vm.containers()) == serving
        assert DESIRED_KEY in {item["key"] for item in vm.resource["metadata"]["items"]}
    finally:
        vm.kill_agent()  # the next one is the image of the user-data again
        vm.until(lambda: other not in vm.docker("ps", "--format", "{{.Image}}"))
        vm.docker("rmi", "--force", "--no-prune", other)
