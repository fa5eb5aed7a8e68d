"""A report of real ledger records, exported lines and collected rows."""

import csv
import io
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import ParameterTypeError

from bench.json_file import JsonFile, line
from blocks import service_facts
from blocks.store import DirectoryStore
from flows import report as module
from releases.ledger import Ledger
from releases.problem import Failed, Unreachable
from releases.release import Verdict
from tests.agent.logs import container, follower, settle
from tests.killed_work import collect, export
from tests.releases.test_dora import entry
from tests.shop.server import shop

pytestmark = pytest.mark.usefixtures("server")
LOG = "sources: {seen: {log: {service: iris}}%s}"
FILE = (
    ', iris-training: {file: {url: "%s/training", format: csv}, contract: {columns: {x: double, y: double}}}'
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryStore:
    made = DirectoryStore(path=tmp_path / "store")
    here = SimpleNamespace(store=made, rules=SimpleNamespace(notify=["slack/team"]))

    def load(name: str) -> SimpleNamespace:
        if name == "away":
            raise Unreachable("the bucket does not answer")
        return here

    monkeypatch.setattr(module, "load_environment", load)
    return made


def record(store: DirectoryStore, verdicts: list[Verdict]) -> None:
    ledger = Ledger(store, "iris", "local")
    now = datetime.now(UTC)
    for number, verdict in enumerate(verdicts, start=1):
        one = entry(number, verdict, 0)
        ledger.claim(lambda _, one=one: one.release.model_copy(update={"environment": "local"}))
        ledger.settle(one.outcome.model_copy(update={"at": now - timedelta(hours=len(verdicts) - number)}))


def log_and_collect(store: DirectoryStore, tmp_path: Path, address: str) -> Path:
    dice = random.Random(1)
    file = JsonFile(tmp_path / "containers", container("a"), 1 << 22, 5)
    for number in range(300):
        status = 500 if number % 100 == 0 else 200
        at = datetime.now(UTC) - timedelta(hours=3)
        file.write(line(f'INFO: 1.2.3.4:5 - "POST /predict HTTP/1.1" {status} OK\n', at=at))
        inputs = {"x": dice.gauss(0, 1), "y": dice.gauss(9, 1)}
        file.write(line(json.dumps({"inputs": inputs, "label": "a"}) + "\n", at=at))
    file.file.close()
    settle(follower(tmp_path, "a"), "a")
    export(store, datetime.now(UTC))
    declared = LOG % (FILE % address)
    collect(store, LOG % "")
    collect(store, "sources: {" + declared.split("}}, ", 1)[1])
    path = tmp_path / "sources.yaml"
    path.write_text(declared)
    return path


def training() -> bytes:
    dice, text = random.Random(2), io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["x", "y"])
    writer.writerows([dice.gauss(0, 1), dice.gauss(0, 1)] for _ in range(500))
    return text.getvalue().encode()


def test_a_report_says_how_releases_requests_and_inputs_did(store: DirectoryStore, tmp_path: Path) -> None:
    record(store, [Verdict.confirmed, Verdict.reverted, Verdict.failed, Verdict.confirmed])
    with shop() as api:
        api.files["/training"] = training()
        file = log_and_collect(store, tmp_path, api.address)
    (made,) = module.report(environment="local", file=file)
    html = (store.path / made.key).read_text()
    assert made.url == (store.path / made.key).as_uri()
    for said in (
        "3 (3.0 a week)",
        "33% (1)",
        "10.0 s",
        "300</td>",
        "1.00%",
        '<td class="shifted">shifted',
        "v4",
    ):
        assert said in html, said
    assert html.count("data:image/png;base64,") == 3
    assert "http://" not in html.replace(made.url, "")
    assert "latency" in html
    assert "inputs that shifted: y" in made.digest
    assert "300 requests, 3 failed" in made.digest
    with get_client(sync_client=True) as client:
        artifacts = {one.key: str(one.data) for one in client.read_latest_artifacts()}
    assert made.url in artifacts["report-page-local"]
    assert "data:image/png;base64," in artifacts["report-local"]
    assert f"`{made.url}`" in artifacts["report-local"]


def test_what_cannot_be_said_is_named_and_holds_up_nothing(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text("sources: {}")
    record(store, [Verdict.confirmed])
    sent: list[tuple[object, ...]] = []
    monkeypatch.setattr(module, "tell", lambda *given: sent.append(given))
    monkeypatch.setattr(module, "environment_names", lambda: ["away", "local"])

    def spoilt(*_: object) -> None:
        raise Failed("training-features.json of iris v1 cannot be read")

    monkeypatch.setattr(service_facts, "trained_on", spoilt)
    with pytest.raises(Failed, match="1 of 2 environments have no report") as raised:
        module.report(file=file)
    assert "the bucket does not answer" in raised.value.got
    (page,) = store.path.rglob("*.html")
    assert "drift: training-features.json of iris v1 cannot be read" in page.read_text()
    ((blocks, subject, body),) = sent
    assert (blocks, subject) == (["slack/team"], "Report of local")
    assert "**iris**: deployments 1" in body
    assert page.as_uri() in body


def test_a_report_of_no_days_is_refused_before_anything_is_read(store: DirectoryStore) -> None:
    record(store, [Verdict.confirmed])
    with pytest.raises(ParameterTypeError, match="greater than or equal to 1"):
        module.report(environment="local", days=0)


def test_a_report_of_nothing_says_so(store: DirectoryStore, tmp_path: Path) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text("sources: {}")
    (made,) = module.report(environment="local", file=file)
    assert "nothing was released here yet" in made.digest
    assert "Nothing was released here yet" in (store.path / made.key).read_text()


def test_what_a_repository_says_cannot_break_the_page(store: DirectoryStore, tmp_path: Path) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text("sources: {}")
    record(store, [Verdict.confirmed])
    path = next(store.path.rglob("000001.json"))
    path.write_text(path.read_text().replace('"v1"', '"<script>alert(1)</script>"'))
    (made,) = module.report(environment="local", file=file)
    html = (store.path / made.key).read_text()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "drift: needs" in html
