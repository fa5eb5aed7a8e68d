"""The forms of Prefect's UI, as its server has them."""

from typing import Any

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks import pick_lists
from blocks.store import DirectoryStore
from deployments import stack
from releases.ledger import Ledger
from tests.deployments.conftest import PrefectServer
from tests.releases.test_swap import release


def test_prefects_own_deploy_makes_whole_forms_and_a_service_is_offered_once_it_was_released(
    prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, home = stack.api_url(prefect_server.home), prefect_server.home
    monkeypatch.setenv("MODEL_DEPLOY_HOME", str(home.path))

    def rollback() -> Any:
        return httpx.get(f"{api}/deployments/name/rollback/rollback").json()

    form = rollback()["parameter_openapi_schema"]["properties"]
    assert {"local", "examples"} <= set(form["environment"]["enum"])
    assert "enum" not in form["service"], "none was released: a name is typed"
    assert not rollback()["enforce_parameter_schema"], "a list is no limit"

    Ledger(DirectoryStore(path=home.share("local").path / "store"), "tulip", "local").claim(release)
    with temporary_settings({PREFECT_API_URL: api}):
        pick_lists.offer()
    service = rollback()["parameter_openapi_schema"]["properties"]["service"]
    assert (service["enum"], service["default"]) == (["tulip"], "tulip")
