"""`script/demo`: a release of the sample service, and a wrong one that is taken back while requests run."""

import json
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from urllib.parse import urlparse

from blocks.command import run
from deployments.connection import connected
from deployments.ending import end_with
from deployments.load import Request, running
from deployments.local import bring_up
from deployments.machine.home import SHIPPED, Home
from deployments.processes import Process
from deployments.set_up import SetUp
from deployments.stack import ROOT, keep_to_own_server
from releases.problem import Failed, Problem

FLOWER = {"sepal_length": 6.3, "sepal_width": 3.3, "petal_length": 6.0, "petal_width": 2.5}
RIGHT = json.dumps({"label": "virginica"})  # what the spec's smoke check expects of such a flower
TAKEN_BACK = "was taken back: the smoke check "
JSON = (("Content-Type", "application/json"),)
LABELS = Path("serving/model/labels.json")


def main() -> int:
    """Show the main job; 1 if anything is not as promised."""
    interface = this_machine(SetUp(), [Process.worker, Process.scheduled])
    with connected(quiet=False):
        from flows.release import release  # noqa: PLC0415 - imports Prefect, which must know its server first

        print("==> releasing the sample service (serving/, Dockerfile, model-deploy.yaml)")
        good = release(source=str(ROOT), environment="local")
        print("==> releasing a version with a wrong answer, while requests run")
        with tempfile.TemporaryDirectory(prefix="model-deploy-demo-") as folder:
            wrong = wrong_version(Path(folder) / ROOT.name)
            port = urlparse(good.url).port or 80
            asked = Request(port, "POST", "/predict", json.dumps(FLOWER).encode(), JSON)
            with (
                running(asked, rate=100, senders=2, keep_alive=True) as kept,
                running(asked, rate=100, senders=2, keep_alive=False) as fresh,
            ):
                refusal = refused(lambda: release(source=str(wrong), environment="local"))
    print(f"  taken back: {refusal.what}\n    expected: {refusal.expected}\n    got: {refusal.got}")
    print(f"    next: {refusal.next_step}")
    failures = kept.failures + fresh.failures
    print(f"  {len(failures)} of {kept.total + fresh.total} requests failed meanwhile {failures[:3] or ''}")
    print("\n==> steps of the release")
    for step, seconds in good.seconds.items():
        print(f"  {step:<20} {seconds:8.2f} s")
    print(f"\nrelease {good.number}, version {good.version}, {good.image}")
    print(f"service     {good.url}   (docs at {good.url}/docs)")
    sent = f"-H 'Content-Type: application/json' -d '{json.dumps(FLOWER)}'"
    print(f"try it      curl -s {good.url}/predict {sent}")
    print(f"Prefect UI  {interface}")
    print("take away   script/down --data")
    return 1 if failures else 0


def this_machine(set_up: SetUp, processes: Collection[Process]) -> str:
    """Bring it up with its own Prefect server, whichever a team's shell names; the UI's address."""
    print("==> this machine")
    another = keep_to_own_server(Home())
    if another:
        print(
            "  PREFECT_API_URL names another Prefect server: the demo leaves it alone and uses this machine's"
        )
    # What was applied last may be that server's: its environments have no business here.
    return bring_up(set_up, processes, in_containers=False, environments=SHIPPED if another else None)


def wrong_version(folder: Path) -> Path:
    """A clone of this repository in which two of the model's labels have changed places."""
    labels = json.loads((ROOT / LABELS).read_text(encoding="utf-8"))
    return _changed(folder, LABELS, json.dumps([*labels[1:], labels[0]]), "Labels in another order")


def another_version(folder: Path) -> Path:
    """A clone of this repository with one more commit, which does no harm."""
    return _changed(folder, Path("serving/NOTES"), "Nothing to see here.\n", "A note")


def _changed(folder: Path, file: Path, content: str, message: str) -> Path:
    identity = ["-c", "user.name=demo", "-c", "user.email=demo@localhost"]
    _git("clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder))
    (folder / file).write_text(content, encoding="utf-8")
    _git("-C", str(folder), "add", str(file))
    _git("-C", str(folder), *identity, "commit", "--quiet", "-m", message)
    return folder


def refused(release: Callable[[], object]) -> Problem:
    """The problem that the release must end with. Raises Failed where it ends otherwise."""
    expected = "it is taken back by its smoke test, which gets a wrong label"
    try:
        release()
    except Problem as problem:
        if TAKEN_BACK in problem.what and problem.expected == RIGHT:
            return problem
        what = "the wrong version failed, but not for its wrong answer"
        raise Failed(what, expected=expected, got=str(problem)) from problem
    raise Failed("the wrong version was released", expected=expected)


def _git(*words: str) -> None:
    finished = run(["git", *words], timeout=120)
    if finished.code != 0:
        raise Failed("the version to release cannot be made", got=finished.tail)


if __name__ == "__main__":
    end_with(main)
