"""The parts of a promotion that need no server: the model's files and metrics, hooks, rules in the file."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks import hooks
from blocks.model_folder import sources_in
from blocks.model_store import ModelStore
from blocks.store import DirectoryStore
from deployments.apply import read
from deployments.machine.home import SHIPPED, Home
from flows.admission import metrics_of
from flows.earlier import copy_model
from releases.problem import BadInput, Failed
from releases.release import ReleasedModel
from releases.rules import Hook
from releases.spec import Model
from tests.http_server import Answer, Request, serving


class Silent:
    def begin(self, doing: str, total: int) -> None: ...

    def moved(self, size: int) -> None: ...


def test_a_model_goes_along_whole_and_its_numbers_are_what_gates_see(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_text("weights")
    (folder / "manifest.json").write_text("a file of the model's own")
    staging, production = (DirectoryStore(path=tmp_path / name) for name in ("staging", "production"))
    metrics = {"accuracy": 0.93, "epochs": 7, "kind": "forest", "calibrated": True}
    wanted = Model(name="iris", version="v2")
    ModelStore(staging).publish(wanted, sources_in(folder), Silent(), metrics=metrics)
    model = ModelStore(staging).released(wanted)
    for _ in range(2):  # killed and run again
        copy_model.fn(staging, production, model)
    there = ModelStore(production)
    there.check(model)
    there.download(there.get("iris", "v2"), tmp_path / "got", Silent())
    assert (tmp_path / "got" / "weights.bin").read_text() == "weights"
    assert metrics_of(there, model) == {"accuracy": 0.93, "epochs": 7.0}
    assert metrics_of(there, ReleasedModel(name="iris", version="v1")) == {}, "the image carries it"


@pytest.fixture
def address() -> Iterator[str]:
    def hook(request: Request) -> Answer:
        if request.path == "/slow":
            time.sleep(2)
        return Answer(status=500 if request.path.startswith("/broken") else 204)

    with serving(hook) as url:
        yield url


def test_a_hook_has_a_deadline_and_must_be_answered_well(address: str) -> None:
    hooks.call(Hook(url=f"{address}/fine"), {"event": "before"})
    with pytest.raises(Failed, match="500"):
        hooks.call(Hook(url=f"{address}/broken"), {"event": "before"})
    started = time.monotonic()
    with pytest.raises(Failed, match="Timeout"):
        hooks.call(Hook(url=f"{address}/slow", timeout=0.2), {"event": "before"})
    assert time.monotonic() - started < 1.9


def test_of_a_hook_that_fails_only_the_host_is_told(address: str) -> None:
    host = address.removeprefix("http://")
    with pytest.raises(Failed) as failed:
        hooks.call(Hook(url=f"http://me:pass@{host}/broken/s3cret"), {"event": "before"})
    assert failed.value.what == f"the hook {address} failed"
    assert not any(secret in str(failed.value) for secret in ("pass", "s3cret"))


@pytest.mark.parametrize(("rules", "field", "said"), [
    ("gates: ['metrics.accuracy ~ 1']", "gates", "one comparison"),
    ("freeze: [{zone: Mars}]", "freeze", "no time zone"),
    ("hooks: {before: [{url: 'http://x', deployment: a/b}]}", "hooks", "a url or a deployment"),
    ("promote_from: [staging]", "promote_from", "did you mean `promotes_from`?"),
])  # fmt: skip
def test_a_wrong_rule_is_named(tmp_path: Path, rules: str, field: str, said: str) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    file = tmp_path / "environments.yaml"
    file.write_text(text[: text.index("    rules: #")] + f"    rules: {{{rules}}}\n", encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        read(Home(tmp_path / "home"), file)
    assert f"production.rules.{field}" in caught.value.what
    assert said in caught.value.expected


@pytest.mark.parametrize(("written", "key", "expected"), [
    ("target: {type: compute-engine, project: p, zones: [z], max_unavailble: 2}", "target.max_unavailble",
     "did you mean `max_unavailable`?"),
    ("target: {homee: x}", "target.homee", "did you mean `home`?"),
    ("store: {type: cloud-storage, bucket: b, credential: c}", "store.credential",
     "did you mean `credentials`?"),
    ("registry: {prefix: p, google: {end_point: e}}", "registry.google.end_point",
     "did you mean `endpoint`?"),
    ("stores: {path: x}", "stores", "did you mean `store`?"),
    ("services: [{name: a, repository: b/c, paht: d}]", "services.0.paht", "did you mean `path`?"),
    ("nonsense: 1", "nonsense", "known here: acme, branch, cloud, "),
])  # fmt: skip
def test_a_key_that_is_not_known_is_an_error_anywhere_in_the_file(
    tmp_path: Path, written: str, key: str, expected: str
) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    file = tmp_path / "environments.yaml"
    file.write_text(text[: text.index("    rules: #")] + f"    {written}\n", encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        read(Home(tmp_path / "home"), file)
    assert caught.value.what == f"unknown key `environments.production.{key}`"
    assert expected in caught.value.expected


def test_the_environments_that_are_shipped_can_be_read(tmp_path: Path) -> None:
    environments = read(Home(tmp_path / "home"), SHIPPED)
    assert environments["production"].rules.promotes_from == ("staging",)
    assert environments["production"].rules.approval is not None
    assert environments["staging"].target != environments["production"].target
