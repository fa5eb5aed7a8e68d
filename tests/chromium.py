"""Chromium, to see Prefect's UI as a person does (Debian's package; Playwright's own browsers are downloads)."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from playwright.sync_api import Page, sync_playwright

from deployments.machine.engine import install, may_install
from releases.problem import Failed

PROGRAMS = ("chromium", "google-chrome")
MISSING = (
    "Chromium is missing, to see the UI with: apt-get install chromium (Debian; Ubuntu has it as a snap)"
)
PATIENCE = 120_000.0  # milliseconds, for anything to appear


def program() -> str | None:
    """Where it is."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextmanager
def page() -> Iterator[Page]:
    found = program()
    if not found:
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])  # we may be root
        made = browser.new_page(viewport={"width": 1400, "height": 1000})
        made.set_default_timeout(PATIENCE)
        yield made
        browser.close()


if __name__ == "__main__":  # what script/test does before its tests
    if not program() and may_install():
        with suppress(Failed):
            install(PROGRAMS[0])
    sys.stdout.write("  chromium: there\n" if program() else f"  no test of the UI: {MISSING}\n")
