"""The forms in Prefect's UI offer what there is, and forbid nothing."""

from pathlib import Path

from blocks.pick_lists import with_choices
from blocks.store import DirectoryStore
from releases.ledger import Ledger, services_in
from tests.releases.test_swap import release

SCHEMA = {
    "properties": {
        "service": {"type": "string"},
        "environment": {"type": "string", "default": "local"},
        "to": {"type": "string", "default": ""},
    },
    "required": ["service"],
}


def test_environments_and_services_are_lists() -> None:
    offered = with_choices(SCHEMA, ["local", "staging"], ["iris"])["properties"]
    assert offered["environment"]["enum"] == ["local", "staging"]
    assert offered["service"]["enum"] == ["iris"]
    assert "enum" not in offered["to"]


def test_without_any_service_a_name_is_typed() -> None:
    assert "enum" not in with_choices(SCHEMA, ["local"], [])["properties"]["service"]


def test_a_parameter_that_may_stay_empty_still_may() -> None:
    schema = {"properties": {"service": {"type": "string", "default": ""}}}
    assert with_choices(schema, [], ["iris"])["properties"]["service"]["enum"] == ["", "iris"]


def test_the_only_service_is_filled_in_until_there_is_another() -> None:
    one = with_choices(SCHEMA, ["local"], ["iris"])
    assert one["properties"]["service"]["default"] == "iris"
    two = with_choices(one, ["local"], ["houses", "iris"])
    assert "default" not in two["properties"]["service"], "a rollback of the wrong one is one click away"
    assert two["properties"]["environment"]["default"] == "local"


def test_the_services_are_those_of_the_ledger(tmp_path: Path) -> None:
    store = DirectoryStore(path=tmp_path)
    Ledger(store, "iris", "staging").claim(release)
    Ledger(store, "houses", "local").claim(release)
    assert services_in(store, "staging") == {"iris"}
