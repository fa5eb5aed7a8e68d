"""What GitHub Actions shows of a release that one of its jobs has started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from releases.problem import NothingToDo, Problem, Refused, Superseded

if TYPE_CHECKING:
    from flows.result import ReleaseResult

VARIABLE = "GITHUB_STEP_SUMMARY"  # the file that GitHub Actions shows below the job


class JobSummary:
    """Filled while the release runs."""

    text = ""

    def released(self, result: "ReleaseResult") -> None:
        """What is live now."""
        steps = [f"| {step} | {seconds:.2f} |" for step, seconds in result.seconds.items()]
        title = f"{result.service} release {result.number} ({result.version})"
        self.text = "\n".join(
            [
                f"## {title} is live in {result.environment}",
                f"{result.url} · `{result.image}`{' (built before)' if result.reused else ''}",
                "",
                *("| step | seconds |", "|---|---|"),
                *steps,
            ]
        )


@contextmanager
def job_summary() -> Iterator[JobSummary]:
    """Write how it ended into the file that GitHub Actions names; elsewhere nothing is written."""
    summary = JobSummary()
    try:
        yield summary
    except Problem as problem:
        summary.text = f"## {_title(problem)}\n\n```\n{problem}\n```"
        raise
    finally:
        file = os.environ.get(VARIABLE)
        if file and summary.text:
            with Path(file).open("a", encoding="utf-8") as opened:
                opened.write(f"{summary.text}\n")


def _title(problem: Problem) -> str:
    if isinstance(problem, NothingToDo):
        return "There was nothing to release"
    if isinstance(problem, Superseded):
        return "The release has given way to a newer one"
    return "The release was refused" if isinstance(problem, Refused) else "The release has failed"
