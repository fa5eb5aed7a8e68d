"""The forms of Prefect's UI, as its server has them."""

import httpx
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks import pick_lists
from blocks.store import DirectoryStore
from deployments import stack
from releases.ledger import Ledger
from tests.deployments.conftest import PrefectServer
from tests.releases.test_swap import release


def test_a_service_that_was_released_can_be_picked(prefect_server: PrefectServer) -> None:
    Ledger(DirectoryStore(path=prefect_server.home.share("local").path / "store"), "tulip", "local").claim(
        release
    )
    api = stack.api_url(prefect_server.home)
    with temporary_settings({PREFECT_API_URL: api}):
        pick_lists.offer()
    form = httpx.get(f"{api}/deployments/name/rollback/rollback").json()["parameter_openapi_schema"]
    assert form["properties"]["service"]["enum"] == ["tulip"]
    assert form["properties"]["service"]["default"] == "tulip"
    assert {"local", "examples"} <= set(form["properties"]["environment"]["enum"])
