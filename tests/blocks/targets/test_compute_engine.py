"""VMs as a target, on the sandbox, with simulated agents that follow the node's own rules."""

import json
import threading

import httpx
import pytest
from google.api_core.exceptions import from_http_status

from blocks.targets.compute_api import passes
from releases.problem import Failed, Problem, Refused, Superseded, Unreachable
from releases.status import Phase
from tests.blocks.targets.conftest import KEY, SECONDS, Vms, is_in
from tests.sandbox.conftest import ZONE, eventually


def test_a_release_goes_to_every_vm_in_waves_and_back_at_once(vms: Vms) -> None:
    vms.add("a", "b", "c", "d")
    target = vms.target(max_unavailable=2)
    target.ensure_node()
    assert [len(wave.urls(80)) for wave in target.waves()] == [1, 2, 1]
    vms.confirmed(target, 1)
    assert set(vms.live().values()) == {"1"}
    generation = vms.on_trial(target, 2)
    assert set(vms.live().values()) == {"2"}
    back = target.revert("iris", generation)
    status = target.wait_for("iris", back, is_in(Phase.live), SECONDS)
    assert set(vms.live().values()) == {"1"}
    assert (status.live, status.confirmed) == (1, 1)


def test_put_back_reaches_every_vm(vms: Vms) -> None:
    vms.add("a", "b")
    target = vms.target()
    vms.confirmed(target, 1)
    generation = vms.confirmed(target, 2)
    back = target.put_back("iris", generation, vms.release(1))
    target.wait_for("iris", back, is_in(Phase.live), SECONDS)
    assert set(vms.live().values()) == {"1"}


def test_other_keys_and_other_services_are_kept_while_somebody_edits_them(vms: Vms) -> None:
    vms.add("a", startup_script="#!/bin/sh")
    target = vms.target()
    other = {"generation": 7, "confirmed": None, "candidate": None, "of a later version": True}
    vms.edit("a", **{"model-deploy": json.dumps({"format": 1, "services": {"other": other}})})
    stop, edits = threading.Event(), 0

    def edit() -> None:
        nonlocal edits
        while not stop.is_set():
            edits += 1
            vms.edit("a", theirs=str(edits))
            stop.wait(0.15)

    thread = threading.Thread(target=edit)
    thread.start()
    try:
        vms.confirmed(target, 1)
        vms.confirmed(target, 2)
    finally:
        stop.set()
        thread.join()
    eventually(lambda: vms.metadata_of("a").get("theirs") == str(edits))
    found = vms.metadata_of("a")
    assert edits > 2
    assert (found["startup-script"], found["theirs"]) == ("#!/bin/sh", str(edits))
    assert json.loads(found["model-deploy"])["services"]["other"] == other
    assert vms.live() == {"a": "2"}


def test_of_two_releases_racing_one_wins_everywhere(vms: Vms) -> None:
    vms.add("a", "b", "c")
    vms.confirmed(vms.target(), 1)
    targets = [vms.target(max_unavailable=2) for _ in range(2)]
    for target in targets:
        target.ensure_node()  # both have read the same
    start = threading.Barrier(2)
    came: dict[int, object] = {}

    def race(number: int, target: object) -> None:
        start.wait()
        try:
            came[number] = vms.confirmed(target, number)
        except Problem as problem:
            came[number] = problem

    threads = [threading.Thread(target=race, args=(number, targets[number - 2])) for number in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [number for number, result in came.items() if isinstance(result, int)]
    lost = [result for result in came.values() if isinstance(result, Problem)]
    assert len(won) == 1, came
    assert isinstance(lost[0], Superseded | Refused)
    assert set(vms.live().values()) == {str(won[0])}


@pytest.mark.fault(24)
def test_a_stale_writer_is_refused(vms: Vms) -> None:  # FAULTS row 24
    vms.add("a")
    mine, theirs = vms.target(), vms.target()
    generation = vms.on_trial(mine, 1)
    mine.desired("iris")  # what it goes on from
    theirs.revert("iris", generation)
    with pytest.raises(Superseded, match="somebody else"):
        mine.confirm("iris", generation)
    with pytest.raises(Superseded):
        mine.shift("iris", generation, 50)
    document = json.loads(vms.metadata_of("a")["model-deploy"])["services"]["iris"]
    assert (document["generation"], document["confirmed"]) == (generation + 1, None)


@pytest.mark.fault(35)
def test_a_node_that_fails_in_the_middle_is_named_and_all_go_back(vms: Vms) -> None:  # FAULTS row 35
    vms.add("a", "b", "c")
    target = vms.target()
    vms.confirmed(target, 1)
    vms.agents.breaks("b", 2)
    with pytest.raises(Failed, match="exit code 3") as failure:
        vms.on_trial(target, 2)
    assert failure.value.where.endswith("/b")
    wanted = target.desired("iris")
    assert vms.live() == {"a": "2", "b": "1", "c": "1"}
    back = target.revert("iris", wanted.generation)
    target.wait_for("iris", back, is_in(Phase.live), SECONDS)
    assert set(vms.live().values()) == {"1"}


def test_a_controller_that_dies_between_two_waves_leaves_all_on_the_old_release(vms: Vms) -> None:
    vms.add("a", "b")
    target = vms.target()
    vms.confirmed(target, 1)
    first, _ = target.waves()
    short = vms.release(2).model_copy(update={"confirm_window": 0.2})
    short = short.model_copy(update={"run": short.run.model_validate({"health": {"timeout": 0.1}})})
    generation = first.propose(short, KEY)
    first.shift("iris", generation, 100)
    first.wait_for("iris", generation, is_in(Phase.bake), SECONDS)
    assert vms.live() == {"a": "2", "b": "1"}
    with pytest.raises(Failed, match="not confirmed in time"):
        first.wait_for("iris", generation, is_in(Phase.drain), SECONDS)
    assert set(vms.live().values()) == {"1"}


def test_an_unreachable_edge_is_said_before_anything_is_built(
    vms: Vms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blocks.targets.machines.REACH_SECONDS", 0.3)
    vms.add("a", "b")
    vms.agents.do(vms.agents.of["b"].hide)
    with pytest.raises(Unreachable, match="1 of 2 nodes") as refusal:
        vms.target().ensure_node()
    assert "/b at http://127.0.1." in refusal.value.where
    assert "worker inside the VPC" in refusal.value.next_step
    assert "firewall-rules create" in refusal.value.next_step
    assert "--network=default" in refusal.value.next_step
    assert "`address: external`" in refusal.value.next_step
    vms.agents.do(vms.agents.of["b"].listen)
    port = vms.agents.port
    with pytest.raises(Unreachable, match="2 of 2 nodes") as refusal:
        vms.target(ports=[port, port + 1]).ensure_node()
    assert f":{port + 1}," in refusal.value.where
    assert f":{port}," not in refusal.value.where
    assert f"--allow=tcp:{port},tcp:{port + 1}" in refusal.value.next_step


def test_a_node_that_cannot_be_reached_in_a_release_is_named_at_the_deadline(vms: Vms) -> None:
    vms.add("a", "b")
    target = vms.target()
    vms.confirmed(target, 1)
    _, second = target.waves()
    first, _ = target.waves()
    generation = first.propose(vms.release(2), KEY)
    second.propose(vms.release(2), KEY)
    vms.agents.do(vms.agents.of["b"].hide)
    with pytest.raises(Unreachable, match="1 nodes have not come far enough") as late:
        second.wait_for("iris", generation, is_in(Phase.verify), 0.5)
    assert late.value.next_step.endswith(f"get-serial-port-output b --zone={ZONE} --project=sandbox")
    assert "ConnectError" in late.value.got
    assert target.status("iris").live == 1  # of those that answer
    assert [one.problem[:18] for one in target.nodes()] == ["", "it does not answer"]


@pytest.mark.parametrize("kind", ["unavailable", "rate_limit", "lost_response", "lost_request"])
def test_an_api_that_is_away_for_a_while_costs_time_only(vms: Vms, kind: str) -> None:
    vms.add("a", "b")
    target = vms.target()
    target.ensure_node()
    vms.cloud.fault(kind, path="/compute/*", count=3)
    vms.confirmed(target, 1)
    vms.cloud.fault(kind, path="*/setMetadata", count=3)
    vms.confirmed(target, 2)
    assert set(vms.live().values()) == {"2"}
    assert target.desired("iris").generation == 2  # nothing was written twice


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(
    vms: Vms, monkeypatch: pytest.MonkeyPatch
) -> None:
    vms.add("a")
    target = vms.target()
    target.ensure_node()
    monkeypatch.setattr("blocks.targets.compute_api.CALL_SECONDS", 0.5)
    vms.cloud.fault("latency", path="*/setMetadata", seconds=1.5, count=1)
    assert target.propose(vms.release(1), KEY) == 1
    assert target.desired("iris").generation == 1  # the same change, not another


@pytest.mark.fault(22, 23)
def test_an_api_and_metadata_servers_that_stay_away_end_a_release_in_time_and_cost_no_user(
    vms: Vms, monkeypatch: pytest.MonkeyPatch
) -> None:
    vms.add("a", "b")
    target = vms.target()
    vms.confirmed(target, 1)
    first, _ = target.waves()
    vms.cloud.fault("unavailable", path="/computeMetadata/*", count=None)
    for name in vms.names:
        vms.edit(name, theirs="an end to the question that was open before")
    faults = f"{vms.cloud.at.api}/sandbox/faults"
    eventually(lambda: httpx.get(faults).json()["faults"][0]["hits"] > 2)
    generation = first.propose(vms.release(2), KEY)
    with pytest.raises(Unreachable, match="not come far enough"):
        first.wait_for("iris", generation, is_in(Phase.verify), 1)
    monkeypatch.setattr("blocks.targets.compute_api.RETRY_SECONDS", 1.0)
    vms.cloud.fault("unavailable", path="/compute/*", count=None)
    with pytest.raises(Unreachable, match="Google's API does not answer") as told:
        target.revert("iris", generation)
    assert told.value.next_step.startswith("start it again in some minutes")
    assert set(vms.live().values()) == {"1"}


def test_what_a_proxy_on_the_way_says_passes_and_a_refusal_does_not() -> None:
    for code in (408, 429, 500, 502, 503, 504):
        assert passes(from_http_status(code, "")), code
    for code in (400, 401, 403, 404, 409, 412):
        assert not passes(from_http_status(code, "")), code


GRANT = "gcloud projects add-iam-policy-binding sandbox --member=MEMBER --role=roles/compute.instanceAdmin.v1"


@pytest.mark.parametrize(
    ("kind", "said", "begins"),
    [
        (
            "forbidden",
            "may not",
            f"model-deploy provision; in a project it does not look after: {GRANT}",
        ),
        ("quota", "the quota CPUS is used up", "gcloud compute project-info describe"),
        ("conflict", "resource is in use", ""),
    ],
)
@pytest.mark.fault(22)
def test_a_refusal_names_the_vm_and_what_is_missing(  # FAULTS row 22
    vms: Vms, kind: str, said: str, begins: str
) -> None:
    vms.add("a")
    target = vms.target()
    target.ensure_node()
    vms.cloud.fault(kind, path="*/setMetadata")
    with pytest.raises(Failed) as refused:
        target.propose(vms.release(1), KEY)
    assert said in str(refused.value)
    assert refused.value.where == "projects/sandbox/zones/europe-west1-b/instances/a"
    assert refused.value.next_step.startswith(begins)
    assert bool(refused.value.next_step) is bool(begins)  # a right does not help against all of them
    assert "model-deploy" not in vms.metadata_of("a")


@pytest.mark.fault(22)
def test_an_operation_that_fails_is_noticed_while_waiting(vms: Vms) -> None:  # FAULTS row 22
    vms.add("a")
    target = vms.target()
    target.ensure_node()
    vms.cloud.fault(
        "operation_error", path="*/setMetadata", code="QUOTA_EXCEEDED", message="Quota 'X' exceeded"
    )
    generation = target.propose(vms.release(1), KEY)
    with pytest.raises(Failed, match="the quota X is used up"):
        target.wait_for("iris", generation, is_in(Phase.verify), SECONDS)


def test_a_wave_that_one_vm_refuses_is_taken_back_from_the_others(vms: Vms) -> None:
    vms.add("a", "b", "c")
    target = vms.target(max_unavailable=2)
    first, second = target.waves()
    first.propose(vms.release(1), KEY)
    vms.cloud.fault("forbidden", path="*/c/setMetadata", count=1)
    with pytest.raises(Failed, match="may not"):
        second.propose(vms.release(1), KEY)

    def parts() -> dict[str, tuple[int, bool]]:
        found = {node.id[-1]: node.desired.of("iris") for node in vms.target()._find()}
        return {name: (part.generation, part.candidate is not None) for name, part in found.items()}

    # What was written is there once its operation is done.
    eventually(lambda: parts() == {"a": (1, True), "b": (2, False), "c": (0, False)})


def test_vms_that_are_not_there_or_off_are_named(vms: Vms) -> None:
    with pytest.raises(Refused, match="no VM to release to"):
        vms.target().ensure_node()
    vms.add("a", "b")
    with pytest.raises(Refused, match="VM z does not exist"):
        vms.target(labels={}, names=["a", "z"]).ensure_node()
    assert len(vms.target(labels={}, names=["a"]).waves()) == 1
    vms.cloud.call("POST", "/compute/v1/projects/sandbox/zones/europe-west1-b/instances/b/stop")
    eventually(lambda: vms.cloud.world.instances["sandbox", ZONE, "b"].status == "TERMINATED")
    with pytest.raises(Refused, match="b is not running") as refused:
        vms.target().ensure_node()
    assert f"start b --zone={ZONE} --project=sandbox" in refused.value.next_step


def stop(vms: Vms, name: str) -> None:
    """As a preemption does."""
    vms.cloud.call("POST", f"/compute/v1/projects/sandbox/zones/{ZONE}/instances/{name}/stop")
    eventually(lambda: vms.cloud.world.instances["sandbox", ZONE, name].status == "TERMINATED")
    vms.names.remove(name)


@pytest.mark.fault(22)
def test_a_vm_that_goes_off_in_mid_release_does_not_block_the_way_back(vms: Vms) -> None:
    vms.add("a", "b", "c")
    target = vms.target(max_unavailable=2)
    vms.confirmed(target, 1)
    first, second = target.waves()
    generation = first.propose(vms.release(2), KEY)
    first.wait_for("iris", generation, is_in(Phase.verify), SECONDS)
    first.shift("iris", generation, 100)
    first.wait_for("iris", generation, is_in(Phase.bake), SECONDS)
    stop(vms, "b")
    target._known.read_at = float("-inf")
    with pytest.raises(Refused, match="b is not running"):
        second.propose(vms.release(2), KEY)
    assert vms.live() == {"a": "2", "c": "1"}
    back = target.revert("iris", generation)
    target.wait_for("iris", back, is_in(Phase.live), SECONDS)
    assert set(vms.live().values()) == {"1"}
    assert [one.problem for one in target.nodes()] == [
        "",
        "it does not answer: the machine is TERMINATED",
        "",
    ]


@pytest.mark.fault(22)
def test_a_vm_that_is_deleted_in_mid_release_is_named_and_does_not_block_the_way_back(
    vms: Vms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blocks.targets.silence.SILENT_SECONDS", 0.5)
    vms.add("a", "b", "c")
    target = vms.target(max_unavailable=3)
    vms.confirmed(target, 1)
    vms.agents.pulls["b"] = 60
    generation = target.propose(vms.release(2), KEY)
    vms.cloud.call("DELETE", f"/compute/v1/projects/sandbox/zones/{ZONE}/instances/b")
    vms.names.remove("b")
    with pytest.raises(Unreachable, match="b does not answer while iris is released to it") as lost:
        target.wait_for("iris", generation, is_in(Phase.verify), 60)
    assert lost.value.got == "the machine is gone"
    back = target.revert("iris", generation)
    target.wait_for("iris", back, is_in(Phase.live), SECONDS)
    assert vms.live() == {"a": "1", "c": "1"}
    target._known.read_at = float("-inf")
    assert [one.node for one in target.nodes()] == [f"{ZONE}/a", f"{ZONE}/c"]


@pytest.mark.fault(22)
def test_a_rollback_goes_on_without_a_vm_that_is_off_which_finds_it_when_it_starts(
    vms: Vms, caplog: pytest.LogCaptureFixture
) -> None:
    vms.add("a", "b", "c")
    vms.confirmed(vms.target(), 2)
    stop(vms, "a")
    target = vms.target()
    target.ensure_node(going_back=True)
    assert "a is not running: it is left out" in caplog.text
    former = vms.release(3).model_copy(update={"restores": 1})
    generation = 0
    for wave in target.waves():
        generation = wave.propose(former, KEY)
        wave.wait_for("iris", generation, is_in(Phase.verify), SECONDS)
        wave.shift("iris", generation, 100)
    target.confirm("iris", generation)
    target.wait_for("iris", generation, lambda one: one.confirmed_generation == generation, SECONDS)
    assert vms.live() == {"b": "3", "c": "3"}
    vms.cloud.call("POST", f"/compute/v1/projects/sandbox/zones/{ZONE}/instances/a/start")
    vms.names.append("a")
    eventually(lambda: "a" in vms.agents.of and vms.agents.of["a"].edge)
    eventually(lambda: vms.live()["a"] == "3")


@pytest.mark.fault(22)
def test_a_node_that_falls_silent_while_others_answer_is_noticed_long_before_a_pulls_limit(
    vms: Vms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blocks.targets.silence.SILENT_SECONDS", 0.5)
    vms.add("a", "b")
    target = vms.target()
    vms.confirmed(target, 1)
    _, second = target.waves()
    generation = second.propose(vms.release(2), KEY)
    vms.agents.do(vms.agents.of["b"].hide)
    with pytest.raises(Unreachable, match="b does not answer while iris is released to it"):
        second.wait_for("iris", generation, is_in(Phase.bake), 900)


def test_a_document_that_cannot_be_read_is_never_written_over(vms: Vms) -> None:
    vms.add("a")
    for text, said in [("{", "cannot be read"), ('{"format": 99}', "newer model-deploy")]:
        vms.edit("a", **{"model-deploy": text})
        eventually(lambda: vms.metadata_of("a").get("model-deploy") == text)  # noqa: B023 - at once
        with pytest.raises(Failed, match=said):
            vms.target().propose(vms.release(1), KEY)
        assert vms.metadata_of("a")["model-deploy"] == text


def test_ports_are_given_in_turn_and_kept(vms: Vms) -> None:
    vms.add("a")
    port = vms.agents.port
    target = vms.target(ports=[port, port + 1])
    vms.confirmed(target, 1)
    assert target.service_port("iris", None) == port
    assert target.service_port("other", None) == port + 1
    with pytest.raises(Refused, match="taken by iris"):
        target.service_port("other", port)
