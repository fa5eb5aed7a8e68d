"""The forms in Prefect's UI offer what there is, and forbid nothing."""

from pathlib import Path
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema

from blocks import pick_lists
from blocks.pick_lists import EnvironmentName, ServiceName, ServiceOrAll, with_choices
from blocks.store import DirectoryStore
from releases.ledger import Ledger, services_in
from tests.releases.test_swap import release


def flow(
    service: ServiceName, only: ServiceOrAll = "", environment: EnvironmentName = "local", to: str = ""
) -> None:
    """As one of ours."""


def form() -> dict[str, Any]:
    """What Prefect registers."""
    return parameter_schema(flow).properties


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODEL_DEPLOY_HOME", str(tmp_path))
    return tmp_path


def test_a_flow_is_registered_with_what_was_offered_last() -> None:
    pick_lists.write({"environments": ["local", "staging"], "services": ["iris"]})
    assert {name: one.get("enum") for name, one in form().items()} == {
        "service": ["iris"],
        "only": ["", "iris"],
        "environment": ["local", "staging"],
        "to": None,
    }


def test_where_nothing_was_applied_or_the_lists_are_spoilt_a_name_is_typed(home: Path) -> None:
    assert not [name for name, one in form().items() if "enum" in one]
    (home / pick_lists.FILE).write_text("{")
    assert not [name for name, one in form().items() if "enum" in one]


def test_a_form_that_is_there_gets_the_new_lists() -> None:
    pick_lists.write({"environments": ["local"], "services": ["iris"]})
    lists = {"environments": [], "services": ["iris", "rose"]}
    fresh = {name: with_choices(one, lists).get("enum") for name, one in form().items()}
    assert fresh == {
        "service": ["iris", "rose"],
        "only": ["", "iris", "rose"],
        "environment": None,
        "to": None,
    }


def test_the_only_service_is_filled_in_until_there_is_another() -> None:
    pick_lists.write({"environments": ["local"], "services": ["iris"]})
    one = form()
    assert (one["service"]["default"], one["only"]["default"]) == ("iris", "")
    two = {"environments": ["local"], "services": ["houses", "iris"]}
    assert "default" not in with_choices(one["service"], two), "a rollback of the wrong one is one click away"
    assert with_choices(one["environment"], two)["default"] == "local"


def test_the_services_are_those_of_the_ledger(tmp_path: Path) -> None:
    store = DirectoryStore(path=tmp_path)
    Ledger(store, "iris", "staging").claim(release)
    Ledger(store, "houses", "local").claim(release)
    assert services_in(store, "staging") == {"iris"}
