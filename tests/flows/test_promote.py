"""Promotion between two environments on this machine, and what stands before it."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from blocks.image_registry import ImageRegistry
from deployments.machine.home import SHIPPED
from flows.promote import copy_image
from tests.controllers import EXECUTE, Command, wait_until
from tests.github.server import TOKEN, FakeGitHub, running
from tests.http_server import Answer, Request, serving
from tests.place import Place, command
from tests.releases.test_swap import release as a_release
from tests.small_image import small_image

pytestmark = pytest.mark.containers

ASKS = "rules: {promotes_from: [staging], approval: {expires: %s}}"


class Production:
    """The environment `production` of a place, with rules that each test gives it."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place = place
        self.file = folder / "environments.yaml"
        place.commit()
        done = place.model_deploy("release", ".", "-e", "staging", "--json")
        assert done.returncode == 0, done.stderr
        self.staged = json.loads(done.stdout)

    def ruled(self, rules: str) -> None:
        """Production with these rules."""
        text = SHIPPED.read_text(encoding="utf-8")
        shipped = text[text.index("    rules: #") :]
        self.file.write_text(text.replace(shipped, f"    {rules}\n"), encoding="utf-8")
        done = self.place.model_deploy("apply", str(self.file))
        assert done.returncode == 0, done.stderr

    def told(self, url: str) -> str:
        """A notification block that posts to the address; its name."""
        api = self.place.api
        kind = api("GET", "/block_types/slug/custom-webhook")["id"]
        schema = api("POST", "/block_schemas/filter", block_schemas={"block_type_id": {"any_": [kind]}})[0]
        data = {"name": "told", "url": url, "method": "POST", "json_data": {"subject": "{{subject}}"}}
        body = {"name": f"told-{url.rsplit(':', 1)[1].strip('/')}", "data": data}
        api("POST", "/block_documents/", **body, block_type_id=kind, block_schema_id=schema["id"])
        return f"custom-webhook/{body['name']}"

    def promote(self, *more: str) -> Command:
        return self.place.start("promote", "sample", *more)

    def waiting(self) -> Command:
        promotion = self.promote()
        wait_until(lambda: promotion.ended or asked(promotion) == 1, 90)
        assert asked(promotion) == 1, promotion.output
        return promotion

    def answer(self, run: str, **given: str) -> Any:
        """What the UI's form sends."""
        return self.place.api("POST", f"/flow_runs/{run}/resume", run_input=given)

    @property
    def live(self) -> int:
        entries = self.records()
        return entries[-1]["number"] if entries else 0

    def records(self) -> list[dict[str, Any]]:
        """The releases that were confirmed."""
        folder = self.place.home.share("production").path / "store/releases/sample/production"
        files = sorted(folder.glob("*.outcome.json"))
        good = [one for one in files if json.loads(one.read_text())["verdict"] == "confirmed"]
        return [json.loads((folder / one.name.replace(".outcome", "")).read_text()) for one in good]


def asked(command: Command) -> int:
    return command.output.count("waiting for a person")


@pytest.fixture(scope="module")
def production(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Production:
    return Production(place, tmp_path_factory.mktemp("rules"))


def connect(place: Place, github: FakeGitHub) -> None:
    words = ("github", "connect", "acme/models", "--url", "https://deploy.acme.com", "--api", github.address)
    place.environment["GITHUB_TOKEN"] = TOKEN
    connected = command(place, *words)
    del place.environment["GITHUB_TOKEN"]
    assert connected.returncode == 0, connected.stderr


@contextmanager
def called() -> Iterator[tuple[str, list[dict[str, Any]], list[int]]]:
    """A server that keeps what it is sent and answers as told: address, what came, the statuses to answer."""
    came: list[dict[str, Any]] = []
    statuses: list[int] = []

    def keep(request: Request) -> Answer:
        came.append(json.loads(request.body))
        return Answer(status=statuses.pop(0) if statuses else 200)

    with serving(keep) as address:
        yield f"{address}/", came, statuses


def test_what_is_live_in_staging_goes_to_production_without_a_build(production: Production) -> None:
    place = production.place
    with called() as (url, came, statuses), called() as (address, mail, _), running() as github:
        connect(place, github)
        github.on_tag = lambda tag, commit: place.git("tag", tag, commit)
        hook = f"[{{url: '{url}'}}]"
        production.ruled(
            f"rules: {{promotes_from: [staging], hooks: {{before: {hook}, after: {hook}}},"
            f" notify: [slack-webhook/nobody-made-it, {production.told(address)}]}}\n"
            f"    services: [{{name: sample, repository: acme/models, source: '{place.repository}'}}]\n"
            "    release: auto"
        )
        statuses.append(500)
        before = production.live
        refused = production.promote().wait()
        assert refused.returncode == 3
        assert f"the hook {url.rstrip('/')} failed" in refused.stderr
        assert production.live == before
        done = production.promote().wait()
        assert done.returncode == 0, done.stderr
    assert [one["subject"].split(": ")[:2] for one in mail] == [
        ["Failed", "promotion of sample to production"]
    ], "of the one that was refused"
    shown = [(status["context"], status["state"]) for _, status in github.statuses]
    assert shown == [("model-deploy/production/sample", one) for one in ("failure", "pending", "success")]
    assert {commit for commit, _ in github.statuses} == {production.records()[-1]["revision"]}
    assert [one["state"] for _, one in github.deployment_statuses] == ["in_progress", "success"]
    assert [one["tag_name"] for one in github.releases] == ["v0.1.0"], "at once, not by reconcile"
    assert [one["event"] for one in came] == ["before", "before", "after"]
    assert came[-1]["outcome"] == "confirmed"
    assert "tests and build" not in done.stdout
    record = production.records()[-1]
    assert record["promoted"]["environment"] == "staging"
    assert record["promoted"]["number"] == production.staged["number"]
    assert list(record["promoted"]["checks"]) == ["right"]
    port = record["public_port"]
    answer = httpx.get(f"http://127.0.0.1:{port}/", timeout=10)
    assert answer.headers["X-Model-Deploy-Release"] == str(record["number"])
    assert record["image"] == production.staged["image"]


@pytest.mark.parametrize(
    ("version", "tag"), [("iris/v1.2.3", "iris-v1.2.3"), ("-ü@v2", "v2"), ("x" * 200, "x" * 128)]
)
def test_a_version_that_is_no_tag_of_an_image_goes_from_one_registry_to_another(
    registry: str, version: str, tag: str
) -> None:
    staging, production = (
        SimpleNamespace(registry=ImageRegistry(prefix=f"{registry}/{secrets.token_hex(4)}")) for _ in range(2)
    )
    with small_image() as local:
        image = staging.registry.push(local, staging.registry.repository("iris"), ["1"])
        proven = a_release(1).model_copy(update={"service": "iris", "image": image, "version": version})
        copied = copy_image.fn(staging, production, proven)
    assert production.registry.find(production.registry.repository("iris"), tag) == copied


@pytest.mark.parametrize(("words", "said"), [
    (("promote", "nobody"), "no release of nobody was ever confirmed in staging"),
    (("promote", "sample", "--from", "local"), "production takes no releases from local"),
])  # fmt: skip
def test_what_is_not_proven_is_refused(production: Production, words: tuple[str, ...], said: str) -> None:
    done = production.place.model_deploy(*words)
    assert done.returncode == 3
    assert said in done.stderr


def test_what_is_not_well_any_more_is_refused(production: Production) -> None:
    target = production.place.home.share("staging")
    before = production.live
    container = f"{target.node}-agent"
    import subprocess

    names = subprocess.run(
        ["docker", "ps", "--format", "{{.Names}}", "--filter", f"label=model-deploy.node={target.node}"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    service = [one for one in names if one != container and "edge" not in one]
    subprocess.run(["docker", "pause", *service], check=True, capture_output=True)
    try:
        done = production.promote().wait()
    finally:
        subprocess.run(["docker", "unpause", *service], check=True, capture_output=True)
    assert done.returncode == 3
    assert "is not well in staging" in done.stderr
    assert production.live == before


def test_a_freeze_refuses_and_its_override_leaves_a_trace(production: Production) -> None:
    production.ruled("rules: {promotes_from: [staging], freeze: [{zone: Europe/Berlin}]}")
    before = production.live
    refused = production.promote().wait()
    assert refused.returncode == 3
    assert "production is frozen for good" in refused.stderr
    assert production.live == before
    done = production.promote("--override-freeze", "it is on fire").wait()
    assert done.returncode == 0, done.stderr
    assert production.records()[-1]["freeze_override"] == "it is on fire"


def test_an_approval_in_the_ui_lets_it_go_on_and_is_recorded(production: Production) -> None:
    """The run of a deployment ends while it waits, and is run again from the top."""
    production.ruled(ASKS % 600)
    place = production.place
    flow = place.api("POST", "/flows/", name="promote")["id"]
    deployment = place.api("POST", "/deployments/", name="by-hand", flow_id=flow)["id"]
    run = place.api("POST", f"/deployments/{deployment}/create_flow_run", parameters={"service": "sample"})[
        "id"
    ]
    before = production.live
    place.start(EXECUTE, run).wait()
    state = place.api("GET", f"/flow_runs/{run}")["state"]
    assert state["name"] == "Suspended"
    shown = place.model_deploy("pending").stdout
    for words in (
        "Proven in staging as release",
        f"release {production.staged['number']}",
        "right: passed",
        "sha256:",
    ):
        assert words in shown
    production.answer(run, decision="maybe", by="ann")
    assert place.api("GET", f"/flow_runs/{run}")["state"]["name"] == "Suspended", "that is no answer"
    production.answer(run, decision="approve", by="ann", reason="seen it")
    place.start(EXECUTE, run).wait()
    assert place.api("GET", f"/flow_runs/{run}")["state"]["name"] == "Completed"
    assert production.live == before + 1
    approval = production.records()[-1]["approval"]
    assert (approval["by"], approval["reason"]) == ("ann", "seen it")


@pytest.mark.fault(34)
def test_an_approval_is_void_once_another_release_went_live(production: Production) -> None:
    """FAULTS.md row 34."""
    production.ruled(ASKS % 600)
    before = production.live
    first = production.waiting()
    second = production.waiting()
    newer, older = (run["id"] for run in production.place.runs("promote")[:2])
    done = production.place.model_deploy("approve", newer, "--reason", "looks fine", "--by", "ann")
    assert done.returncode == 0, done.stderr
    assert second.wait().returncode == 0
    assert production.live == before + 1
    assert production.records()[-1]["approval"]["reason"] == "looks fine"
    production.answer(older, decision="approve", by="ann")
    wait_until(lambda: first.ended or asked(first) == 2, 60)
    assert not first.ended, "it is asked again"
    done = production.place.model_deploy("reject", older, "--reason", "the newer one is live", "--by", "bob")
    assert done.returncode == 0, done.stderr
    ended = first.wait()
    assert ended.returncode == 3
    assert "bob has rejected" in ended.stderr
    assert production.live == before + 1
    assert "Rejected" in production.place.states("promote")[:2]


def test_an_approval_that_nobody_gives_expires(production: Production) -> None:
    before = production.live
    with called() as (url, came, _):
        told = production.told(url)
        production.ruled(f"rules: {{promotes_from: [staging], approval: {{expires: 2}}, notify: [{told}]}}")
        done = production.promote().wait()
    assert done.returncode == 3
    assert [one["subject"].split(":")[0] for one in came] == ["Approval wanted"]
    assert "nobody has approved sample" in done.stderr
    wait_until(lambda: production.place.states("promote")[0] == "Expired", 60)
    assert production.live == before
    assert production.place.model_deploy("pending").stdout.strip() == "nothing waits for a person"
