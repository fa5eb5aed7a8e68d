"""A merge from one environment to the next is a promotion by itself, of what was good there and nothing else."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow
from prefect.logging import disable_run_logger

from blocks.model_folder import sources_in
from blocks.model_store import ModelStore
from blocks.store import DirectoryStore
from flows import earlier
from flows.sources import find_model
from releases.ledger import Ledger
from releases.problem import BadInput
from releases.release import Outcome, ReleasedModel, Verdict
from releases.rules import Rules
from releases.source_key import LABEL
from releases.spec import Model
from tests.flows.test_admission import Silent
from tests.releases.test_swap import release as a_release

pytestmark = pytest.mark.usefixtures("server")
IMAGE = a_release(1).image
KEY = "of these sources"


class Registry:
    def __init__(self, prefix: str, image: str | None) -> None:
        self.prefix, self.image, self.labelled = prefix, image, KEY

    def repository(self, service: str) -> str:
        return f"{self.prefix}/{service}"

    def find(self, _repository: str, _tag: str) -> str | None:
        return self.image

    def label(self, image: str, name: str) -> str:
        assert (image, name) == (self.image, LABEL)
        return self.labelled


def environment(folder: Path, name: str, registry: Registry) -> Any:
    store = DirectoryStore(path=folder / name)
    return SimpleNamespace(
        name=name,
        registry=registry,
        ledger=lambda service: Ledger(store, service, name),
        models=lambda: ModelStore(store),
    )


def released(where: Any, verdict: Verdict, model: ReleasedModel | None = None, key: str = KEY) -> None:
    given = {"service": "iris", "environment": where.name, "model": model, "source_key": key}
    made = where.ledger("iris").claim(
        lambda number: a_release(number).model_copy(update=given | {"image": IMAGE})
    )
    where.ledger("iris").settle(Outcome(number=made.number, verdict=verdict, at=datetime.now(UTC)))


@flow
def asks(where: Any) -> str:
    found = earlier.built(where, "iris", KEY)
    return found.registry.prefix if found else "built anew"


@pytest.mark.parametrize("shared", [True, False])
def test_an_image_is_used_only_if_it_was_good_where_it_was_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    registry = Registry("one", IMAGE)
    dev = environment(tmp_path, "dev", registry)
    staging = environment(tmp_path, "staging", registry if shared else Registry("other", None))
    monkeypatch.setattr(earlier, "before", lambda where: [dev] if where is staging else [])
    assert asks(staging) == "built anew", "dev was killed before it released it"
    released(dev, Verdict.failed)
    assert asks(staging) == "built anew"
    assert asks(dev) == "one", "its own it tries again"
    released(dev, Verdict.confirmed)
    assert asks(staging) == "one"


@pytest.mark.fault(12)
@pytest.mark.parametrize("known", [True, False], ids=["by the ledger", "by its label"])
def test_a_tag_that_was_moved_to_an_image_of_other_sources_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, known: bool
) -> None:
    registry = Registry("one", IMAGE)
    dev = environment(tmp_path, "dev", registry)
    monkeypatch.setattr(earlier, "before", lambda _: [])
    assert asks(dev) == "one", "a run has ended between its push and its release"
    if known:
        released(dev, Verdict.confirmed, key="of others")
    else:
        registry.labelled = "of others"
    assert asks(dev) == "built anew"
    assert "was not built from these sources: the tag was moved" in caplog.text


@pytest.mark.fault(12)
def test_a_tag_that_was_moved_where_releases_come_from_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev = environment(tmp_path, "dev", Registry("one", IMAGE))
    staging = environment(tmp_path, "staging", Registry("other", None))
    monkeypatch.setattr(earlier, "before", lambda where: [dev] if where is staging else [])
    released(dev, Verdict.confirmed, key="of others")
    assert asks(staging) == "built anew"


@flow
def brings(where: Any) -> ReleasedModel | None:
    return earlier.bring_model(where, "iris", Model(name="iris", version="v2"))


def test_the_model_comes_along_from_where_it_was_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev, staging = (environment(tmp_path, name, Registry(name, None)) for name in ("dev", "staging"))
    monkeypatch.setattr(earlier, "before", lambda _: [dev])
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_text("weights")
    wanted = Model(name="iris", version="v2")
    dev.models().publish(wanted, sources_in(folder), Silent())
    model = dev.models().released(wanted)
    released(dev, Verdict.reverted, model)
    assert brings(staging) is None
    assert not staging.models().versions("iris")
    released(dev, Verdict.confirmed, model)
    assert brings(staging) == model
    staging.models().check(model)


def test_for_an_alias_no_earlier_environment_is_asked(tmp_path: Path) -> None:
    """It stands in no ledger: a release there has the version that the alias was."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_text("weights")
    staging = environment(tmp_path, "staging", Registry("staging", None))
    staging.rules = Rules(promotes_from=("dev",))  # nobody has made it
    staging.models().publish(Model(name="iris", version="v2"), sources_in(folder), Silent())
    staging.models().point("iris", "good", "v2")
    sources: Any = SimpleNamespace(service="iris")
    with disable_run_logger():
        found = find_model(staging, sources, "iris=good")
        assert found is not None
        assert found.version == "v2"
        with pytest.raises(BadInput, match="there is no environment dev"):
            find_model(staging, sources, "iris=v3")
