"""The story of a deploy on a fleet: a real Prefect server, the sandbox, simulated agents."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import flow

from blocks.cloud_storage import CloudStorage
from blocks.environment import Environment, load_environment
from blocks.targets.compute_engine import ComputeEngineInstances
from blocks.targets.local import LocalTarget
from deployments import apply as apply_module
from deployments.load import Request, running
from deployments.machine.home import Home
from flows.deploying import Deployed, deploy, settle_open_claims
from flows.stopwatch import Stopwatch
from releases import fleet
from releases.ledger import Ledger
from releases.problem import BadInput, Cancelled, Failed, Problem, Unreachable
from releases.release import Release, Verdict
from releases.spec import SmokeCheck
from releases.status import STATUS_PATH, Phase
from tests.blocks.buckets import cloud_store
from tests.blocks.targets.conftest import KEY, Vms, vms  # noqa: F401 - a fixture
from tests.sandbox.conftest import ZONE, eventually

ENVIRONMENTS = """
environments:
  local:
    registry: {prefix: "${registry}"}
    target: {home: "${home}", node: "${node}", ports: "${ports}"}
    store: {path: "${home}/store"}
  production:
    branch: release
    registry: {prefix: europe-west1-docker.pkg.dev/acme/models}
    target: %s
    store: %s
"""
RIGHT = SmokeCheck.model_validate(
    {"name": "right", "path": "/", "requests": 2, "expect": {"json": {"answer": "right"}}}
)


@pytest.fixture
def production(server: None, vms: Vms, tmp_path: Path) -> Environment:  # noqa: F811
    """Described in a file, applied, and loaded again."""
    store = cloud_store(vms.cloud, tmp_path)
    target = vms.target(max_unavailable=2)
    (tmp_path / "environments.yaml").write_text(ENVIRONMENTS % (as_yaml(target), as_yaml(store)))
    home = Home(tmp_path / "home")
    apply_module.apply(home, tmp_path / "environments.yaml")
    again = apply_module.apply(home, tmp_path / "environments.yaml")
    described = [change.done for change in again if change.environment in {"local", "production"}]
    assert described == ["unchanged", "unchanged"]
    return load_environment("production")


def as_yaml(block: Any) -> str:
    return block.model_dump_json(exclude_none=True, exclude={"credentials"})


@flow
def one_release(environment: Environment, release: Release, bake: float = 0) -> Deployed:
    return deploy(environment, release, bake, Stopwatch(lambda _: None))


def claimed(environment: Environment, vms: Vms, behaviour: str = "right") -> Release:  # noqa: F811
    def make(number: int) -> Release:
        made = vms.release(number, env={"BEHAVIOUR": behaviour}, health={"timeout": 5})
        return made.model_copy(update={"environment": "production", "smoke": (RIGHT,)})

    return environment.ledger("iris").claim(make)


def verdicts(environment: Environment) -> list[Verdict | None]:
    return [one.outcome.verdict if one.outcome else None for one in environment.ledger("iris").entries()]


def test_environments_survive_prefect_and_local_needs_no_type(production: Environment) -> None:
    assert type(production.target) is ComputeEngineInstances
    assert type(production.store) is CloudStorage
    local = load_environment("local")
    assert type(local.target) is LocalTarget


def test_a_type_that_is_none_is_refused_with_those_that_are(tmp_path: Path) -> None:
    described = ENVIRONMENTS % ("{type: kubernetes}", "{path: /x}")
    (tmp_path / "environments.yaml").write_text(described)
    with pytest.raises(BadInput, match=r"`environments.production.target` is not right") as refused:
        apply_module.read(Home(tmp_path / "home"), tmp_path / "environments.yaml")
    assert "'local', 'compute-engine'" in refused.value.expected


def test_a_release_reaches_every_vm_and_a_bad_one_no_user(production: Environment, vms: Vms) -> None:  # noqa: F811
    vms.add("a", "b", "c", "d")
    deployed = one_release(production, claimed(production, vms))
    assert set(vms.live().values()) == {"1"}
    assert [(check.title, len(check.latencies)) for check in deployed.checks] == [("right", 2)]
    with pytest.raises(Failed, match="smoke check `right` failed"):
        one_release(production, claimed(production, vms, "wrong"))
    assert set(vms.live().values()) == {"1"}
    generations = {node.desired.of("iris").generation for node in vms.target()._find()}
    assert generations == {1, 3}  # only the first wave has ever heard of it
    assert verdicts(production) == [Verdict.failed, Verdict.confirmed]
    one_release(production, claimed(production, vms))
    assert set(vms.live().values()) == {"3"}


def test_a_bucket_that_is_away_hides_not_why_a_release_failed(
    production: Environment,
    vms: Vms,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: object) -> None:
        raise Unreachable("the bucket does not answer")

    vms.add("a")
    one_release(production, claimed(production, vms))
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "settle", away)
        with pytest.raises(Failed, match="smoke check `right` failed"):
            one_release(production, claimed(production, vms, "wrong"))
    assert verdicts(production) == [None, Verdict.confirmed]
    settle(production)
    assert verdicts(production) == [Verdict.reverted, Verdict.confirmed]


def test_a_later_wave_that_pulls_longer_than_the_window_loses_nobody(
    production: Environment,
    vms: Vms,  # noqa: F811
) -> None:
    vms.add("a", "b")
    one_release(production, claimed(production, vms))
    slow = claimed(production, vms)
    settings = {
        "confirm_window": 2.0,
        "run": slow.run.model_validate({"port": 8000, "health": {"timeout": 0.5}}),
    }
    slow = slow.model_copy(update=settings)
    window = fleet.window(slow, 2)
    vms.agents.pulls["b"] = window + 3
    one_release(production, slow)
    assert set(vms.live().values()) == {"2"}
    assert verdicts(production) == [Verdict.confirmed, Verdict.confirmed]
    changes = [one.resource for one in vms.cloud.world.operations.values()]
    of_a = [
        one for one in changes if one["operationType"] == "setMetadata" and one["targetLink"].endswith("/a")
    ]
    assert (
        6 < len(of_a) <= 14
    )  # six for two releases; the fleet's window is renewed a few times, not the VM's


@pytest.mark.fault(13, 18, 21, 35)
def test_half_the_fleet_swapped_when_a_disk_is_full_an_agent_was_killed_and_a_vm_reset(
    production: Environment,
    vms: Vms,  # noqa: F811
) -> None:
    """FAULTS row 35; then a release during which an agent is killed reaches all."""
    vms.add("a", "b", "c", "d")
    one_release(production, claimed(production, vms))
    agents, asked = vms.agents, []
    with ExitStack() as stack:
        for name in ("a", "c", "d"):  # b is off for a while
            request = Request(agents.port, host=agents.of[name].vm.address)
            asked.append(stack.enter_context(running(request, rate=50, senders=2)))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        agents.breaks("d", 2, "mkdir /var/lib/docker: no space left on device")
        agents.pulls["b"] = 1.0
        struck = pool.submit(lambda: (killed_in(vms, "a", Phase.bake), reset_in(vms, "b", Phase.pull)))
        with pytest.raises(Failed, match="release 2 was taken back: iris failed in `probe`") as failure:
            one_release(production, claimed(production, vms))
        struck.result()
        assert failure.value.where.endswith("/d")
        assert "password=hunter2" in failure.value.got  # for who has released it, and for nobody else
        said = httpx.get(f"{production.target.urls(agents.port)[-1]}{STATUS_PATH}").text
        assert "no space left" in said
        assert "hunter2" not in said
        assert failure.value.what.endswith("release 1 is live")
        assert set(vms.live().values()) == {"1"}
        agents.pulls = {"c": 1.0}
        struck = pool.submit(killed_in, vms, "c", Phase.pull)
        one_release(production, claimed(production, vms))
        struck.result()
        assert set(vms.live().values()) == {"3"}
    assert [one.failures for one in asked] == [[], [], []]
    assert min(one.total for one in asked) > 50
    assert verdicts(production) == [Verdict.confirmed, Verdict.reverted, Verdict.confirmed]


def killed_in(vms: Vms, name: str, phase: Phase) -> None:  # noqa: F811
    """Its unit starts it again, after the release has asked for it in vain."""
    agent = vms.agents.of[name]
    eventually(lambda: agent.services["iris"].phase is phase)
    vms.agents.do(agent.kill)
    eventually(lambda: agent.missed > 0)
    vms.agents.do(agent.run)


def reset_in(vms: Vms, name: str, phase: Phase) -> None:  # noqa: F811
    eventually(lambda: vms.agents.of[name].services["iris"].phase is phase)
    path = f"/compute/v1/projects/{vms.cloud.project}/zones/{ZONE}/instances/{name}/reset"
    vms.cloud.call("POST", path).raise_for_status()


def test_a_controller_that_died_in_the_middle_is_settled_by_the_next(
    production: Environment,
    vms: Vms,  # noqa: F811
) -> None:
    vms.add("a", "b")
    one_release(production, claimed(production, vms))
    dead = claimed(production, vms)
    first, _ = production.target.waves()
    generation = first.propose(dead, KEY)
    first.shift("iris", generation, 100)
    settle(production)
    assert set(vms.live().values()) == {"1"}
    assert verdicts(production) == [Verdict.reverted, Verdict.confirmed]
    another = claimed(production, vms)
    for wave in production.target.waves():
        generation = wave.propose(another, KEY)
    first.confirm("iris", generation)  # and dies before the second one is confirmed
    settle(production)
    assert set(vms.live().values()) == {"1"}
    assert verdicts(production) == [Verdict.reverted, Verdict.reverted, Verdict.confirmed]


def test_a_release_that_is_cancelled_while_vms_are_written_stands_in_nobodys_way(
    production: Environment,
    vms: Vms,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vms.add("a", "b")
    one_release(production, claimed(production, vms))
    propose = ComputeEngineInstances.propose

    def cancelled(target: ComputeEngineInstances, release: Release, key: str) -> int:
        propose(target, release, key)
        raise Cancelled

    with monkeypatch.context() as patched:
        patched.setattr(ComputeEngineInstances, "propose", cancelled)
        with pytest.raises(Cancelled):
            one_release(production, claimed(production, vms))
    assert verdicts(production) == [Verdict.failed, Verdict.confirmed]
    settle(production)
    one_release(production, claimed(production, vms))
    assert set(vms.live().values()) == {"3"}


@flow
def settle(environment: Environment) -> None:
    settle_open_claims(environment, "iris")


@pytest.mark.fault(35)
def test_a_vm_that_falls_silent_ends_the_release_and_in_the_end_all_have_one(
    production: Environment,
    vms: Vms,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """FAULTS row 35, by an edge that cannot be reached: the release ends long before a pull's limit."""
    monkeypatch.setattr("blocks.targets.silence.SILENT_SECONDS", 1.0)
    monkeypatch.setattr("flows.deploying.NODE_SLACK", 2.0)
    vms.add("a", "b")
    one_release(production, claimed(production, vms))
    bad = claimed(production, vms)
    vms.agents.pulls["b"] = 3.0  # it is silent while it pulls

    def hide_once_it_pulls() -> None:
        eventually(lambda: vms.agents.of["b"].services["iris"].phase is Phase.pull)
        vms.agents.do(vms.agents.of["b"].hide)

    silent = threading.Thread(target=hide_once_it_pulls)
    silent.start()
    with pytest.raises(Problem, match="b does not answer while iris is released to it"):
        one_release(production, bad)
    silent.join()
    vms.agents.do(vms.agents.of["b"].listen)
    eventually(lambda: set(vms.live().values()) == {"1"})
    assert {node.desired.of("iris").candidate for node in vms.target()._find()} == {None}
    assert verdicts(production) == [Verdict.reverted, Verdict.confirmed]


def test_a_vm_that_may_not_be_written_to_ends_in_a_record_all_the_same(
    production: Environment,
    vms: Vms,  # noqa: F811
) -> None:
    vms.add("a", "b")
    one_release(production, claimed(production, vms))
    vms.cloud.fault("forbidden", path="*/b/setMetadata", count=1)
    with pytest.raises(Problem, match="may not"):
        one_release(production, claimed(production, vms))
    assert set(vms.live().values()) == {"1"}
    assert verdicts(production) == [Verdict.reverted, Verdict.confirmed]
    assert httpx.get(vms.cloud.at.api + "/sandbox/vms").status_code == 200
