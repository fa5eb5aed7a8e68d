"""The release page: what is live now, what it was before, and the commits between."""

import subprocess
from pathlib import Path

import pytest
from prefect.exceptions import PrefectException
from prefect.logging import disable_run_logger

from blocks.smoke import CheckResult
from flows import pages
from flows.deploying import Deployed
from flows.pages import page
from releases.ledger import Entry
from releases.problem import Unreachable
from releases.release import ReleasedModel
from tests.releases.test_swap import release


def commit(folder: Path, words: str) -> str:
    """The new commit's id."""
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", words], check=True)
    return subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_it_compares_with_the_release_before_and_names_the_commits(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    first, _, third = (commit(tmp_path, words) for words in ("first", "better weights", "a faster answer"))
    old = release(1).model_copy(update={"revision": first})
    new = release(2).model_copy(update={"revision": third})
    checks = [CheckResult("a setosa is a setosa", (0.010, 0.012))]
    deployed = Deployed(new, "http://127.0.0.1:8080", checks, {"start": 1.234})
    shown = page(deployed, Entry(old, None), str(tmp_path))
    for line in (
        "# iris release 2 is live in local",
        "| | release 1 | release 2 |",
        f"| digest | `{old.digest[:19]}` | `{new.digest[:19]}` |",
        f"| model | iris v1 `{old.model_sha256[:12]}` | iris v2 `{new.model_sha256[:12]}` |",
        f"- {third[:7]} a faster answer",
        "| a setosa is a setosa | 2 | 12 ms |",
        "| start | 1.23 |",
    ):
        assert line in shown.splitlines()
    assert "better weights" in shown
    assert f"{first[:7]} first" not in shown, "that one was live before"


@pytest.mark.parametrize(
    "error",
    [
        OSError("no space left on device"),
        PrefectException("no such artifact"),
        RuntimeError("Failed to reach API"),
        Unreachable("the bucket is away"),
    ],
)
def test_what_cannot_be_shown_fails_no_release_that_is_live(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offer() -> None:
        raise error

    for name in ("create_markdown_artifact", "create_link_artifact"):
        monkeypatch.setattr(pages, name, lambda *_, **__: None)
    monkeypatch.setattr(pages.pick_lists, "offer", offer)
    with disable_run_logger():
        pages.publish(Deployed(release(1), "http://127.0.0.1:8080", []), None, "")


def test_a_first_release_and_a_model_in_the_image_have_nothing_to_compare(tmp_path: Path) -> None:
    carried = ReleasedModel(name="iris", version="v1")
    new = release(1).model_copy(update={"model": carried})
    shown = page(Deployed(new, "http://127.0.0.1:8080", []), None, str(tmp_path))
    assert "| | release — | release 1 |" in shown
    assert "| model | — | iris v1 |" in shown
    assert "Commits" not in shown
