"""A release by hand in Prefect's UI, in a real browser: the form, the approval, the release page, the way back."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as Unanswered

from deployments import stack
from deployments.machine.home import SHIPPED
from deployments.processes import Process
from tests import chromium
from tests.controllers import wait_until
from tests.deployments.conftest import MODEL_DEPLOY, register_flows
from tests.place import Place

pytestmark = pytest.mark.containers

PICTURES = os.environ.get("MODEL_DEPLOY_PICTURES", "")  # a folder, to have them for docs/images
ANSWERED = 15_000.0  # milliseconds
STARTED = re.compile(r"^(?!.*/run\?)")  # no longer the form's address
ASKS = """
environments:
  local:
    branch: main
    registry: {prefix: "${registry}"}
    target: {home: "${home}", node: "${node}", ports: "${ports}"}
    store: {path: "${home}/store"}
    rules: {approval: {expires: 600}}
"""


@dataclass
class Ui:
    page: Page
    place: Place

    def open(self, path: str) -> None:
        self.page.goto(stack.interface(self.place.home) + path)

    def run(self, flow: str, fill: Callable[[], None], picture: str = "") -> str:
        """Start it with the form; the run's id."""
        before = {run["id"] for run in self.place.runs(flow)}
        self.open(
            f"/deployments/deployment/{self.place.api('GET', f'/deployments/name/{flow}/{flow}')['id']}"
        )
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_text("Custom run").click()
        fill()
        self.shot(picture)
        self.submit(
            self.page.locator("body"), lambda patience: self.page.wait_for_url(STARTED, timeout=patience)
        )
        wait_until(lambda: bool({run["id"] for run in self.place.runs(flow)} - before), 60)
        (run,) = {run["id"] for run in self.place.runs(flow)} - before
        self.open(f"/runs/flow-run/{run}")
        return str(run)

    def submit(self, within: Locator, taken: Callable[[float], object]) -> None:
        """Pressed again where Prefect has not taken it: its SQLite may be busy with another writer."""
        for patience in (ANSWERED, ANSWERED, chromium.PATIENCE):
            within.get_by_role("button", name="Submit").click()
            with suppress(Unanswered):
                taken(patience)
                return
        raise AssertionError("Prefect did not take it")

    def field(self, name: str, within: str = "body") -> Locator:
        named = self.page.locator(within).locator(".schema-form-property")
        return named.filter(has=self.page.get_by_text(re.compile(rf"^{name}( \(Optional\))?$")))

    def write(self, name: str, text: str, within: str = "body") -> None:
        self.field(name, within).get_by_role("textbox").fill(text)

    def pick(self, name: str, choice: str, within: str = "body") -> None:
        self.field(name, within).locator(".p-select-button__control").focus()
        self.page.keyboard.press("Space")
        self.page.locator(".p-select-option__text").get_by_text(choice, exact=True).click()

    def is_shown(self, text: str) -> None:
        self.page.get_by_text(text, exact=True).first.wait_for()

    def shot(self, name: str) -> None:
        if PICTURES and name:
            self.page.wait_for_timeout(1500)  # its graph moves into place
            self.page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))


@pytest.fixture
def ui(place: Place, tmp_path: Path) -> Iterator[Ui]:
    """With a worker, and an environment that asks for approval."""
    place.released()
    file = tmp_path / "environments.yaml"
    file.write_text(ASKS)
    with chromium.page() as page:
        register_flows(place.home)
        worker = subprocess.Popen(
            [MODEL_DEPLOY, "run", Process.worker],
            env=place.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            applied = place.model_deploy("apply", str(file))  # and the lists to pick from
            assert applied.returncode == 0, applied.stderr
            yield Ui(page, place)
        finally:
            os.killpg(worker.pid, signal.SIGKILL)  # asked politely, it waits for what schedules have started
            worker.wait()
            place.model_deploy("apply", str(SHIPPED))


@pytest.mark.timeout(600)
def test_a_person_releases_approves_sees_it_live_and_takes_it_back(ui: Ui) -> None:
    place, before = ui.place, ui.place.live()
    place.commit("well")
    run = ui.run("release", lambda: ui.write("source", str(place.repository)), "release-form")
    ui.is_shown("Suspended")
    ui.page.get_by_role("button", name="Resume").click()
    dialog = ui.page.get_by_role("dialog")
    dialog.get_by_text(f"live now (release {before})").wait_for()
    ui.pick("Decision", "approve", "[role=dialog]")
    ui.write("By", "ann", "[role=dialog]")
    ui.write("Reason", "seen it", "[role=dialog]")
    ui.shot("approve")
    ui.submit(dialog, lambda patience: dialog.wait_for(state="hidden", timeout=patience))
    ui.is_shown("Completed")
    assert place.live() == before + 1
    ui.page.get_by_text("Artifacts", exact=True).first.click()
    ui.page.get_by_text("release-sample-local").first.click()
    ui.page.get_by_text(f"sample release {before + 1} is live in local").first.wait_for()
    ui.shot("release-page")
    ui.run("rollback", lambda: ui.pick("service", "sample"))
    ui.is_shown("Completed")
    assert place.live() == before + 2
    assert place.api("GET", f"/flow_runs/{run}")["state"]["name"] == "Completed"
