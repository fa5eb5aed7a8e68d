"""Whole releases: a real Prefect server, a real engine, a real registry, a service in a real repository."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from bench.load import Request, running
from tests.conftest import SAMPLE

pytestmark = pytest.mark.containers
SPEC = """
name: sample
run: {health: {path: /healthz, timeout: 5}, stop_grace: 1, drain: 2, env: {BEHAVIOUR: "%s"}}
smoke: [{name: right, path: /, expect: {json: {answer: right}}}]
confirm: {bake: %s, window: 30}
"""


@dataclass
class Place:
    """A home of its own with everything up, and a repository to release from."""

    repository: Path
    environment: dict[str, str]
    known_url: str = ""

    def model_deploy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [str(Path(sys.executable).parent / "model-deploy"), *arguments]
        return subprocess.run(
            argv,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            cwd=self.repository,
        )

    def commit(self, behaviour: str = "", bake: float = 0, spec: str | None = None) -> None:
        text = SPEC % (behaviour, bake) if spec is None else spec
        (self.repository / "model-deploy.yaml").write_text(text)
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", behaviour or "well")

    def git(self, *words: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        subprocess.run(
            ["git", "-C", str(self.repository), *identity, *words], check=True, capture_output=True
        )

    def released(self, behaviour: str = "") -> str:
        self.commit(behaviour)
        done = self.model_deploy("release", ".")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def answer(self) -> httpx.Response:
        return httpx.get(self.url(), timeout=5)

    def url(self) -> str:
        if not self.known_url:  # it never changes once there is a release
            self.known_url = self.model_deploy("status").stdout.split(" at ")[1].split()[0].rstrip(",;")
        return self.known_url


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("flows")
    repository = folder / "sample"
    repository.mkdir()
    for name in ("Dockerfile", "app.py"):
        (repository / name).write_bytes((SAMPLE / name).read_bytes())
    own = {"MODEL_DEPLOY_HOME": str(folder / "home"), "MODEL_DEPLOY_NODE": f"md-test-{secrets.token_hex(3)}"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
    made = Place(repository, {**kept, **own})
    made.git("init", "--quiet", "--initial-branch=main")
    try:
        done = made.model_deploy("up", "--no-worker")
        assert done.returncode == 0, done.stderr
        yield made
    finally:
        made.model_deploy("down", "--data")


def test_a_release_is_live_and_the_same_sources_are_not_built_again(place: Place) -> None:
    assert "tests and build" in place.released()
    assert place.answer().json()["answer"] == "right"
    again = place.model_deploy("release", ".")
    assert "(built before)" in again.stdout
    assert "tests and build" not in again.stdout
    assert place.answer().status_code == 200


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("wrong", ["the smoke check `right` failed", '"answer": "wrong"', '{"answer": "right"}']),
        ("crashes", ["exited before it was ready: exit code 3", "cannot go on: no weights"]),
        ("never healthy", ["did not become ready in time", "limit 5 s", "HTTP 503"]),
    ],
)
def test_a_bad_service_is_taken_back_while_the_old_one_serves(
    place: Place, behaviour: str, said: list[str]
) -> None:
    place.released()
    before = place.answer().headers["X-Model-Deploy-Release"]
    place.commit(behaviour)
    port = int(place.url().rsplit(":", 1)[1])
    with running(Request(port), rate=50) as load:
        done = place.model_deploy("release", ".")
    assert done.returncode == 1
    for words in [*said, f"release {before} is live", "was taken back"]:
        assert words in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert load.failures == []
    assert load.releases == {before}


def test_a_crash_in_the_bake_is_taken_back(place: Place) -> None:
    place.released()
    before = place.answer().headers["X-Model-Deploy-Release"]
    place.commit("crashes later", bake=10)
    done = place.model_deploy("release", ".")
    assert done.returncode == 1
    assert "exit code 4" in done.stderr
    assert place.answer().headers["X-Model-Deploy-Release"] == before


def test_two_rollbacks_go_two_releases_back(place: Place) -> None:
    for _ in range(3):
        place.released()
    third = int(place.answer().headers["X-Model-Deploy-Release"])
    for restored in (third - 1, third - 2):
        done = place.model_deploy("rollback", "sample")
        assert done.returncode == 0, done.stderr
        assert f"restores {restored}" in place.model_deploy("history", "sample").stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("break_it", "code", "said"),
    [
        (lambda place: place.commit(spec="run: {helth: {}}"), 2, "did you mean `health`?"),
        (lambda place: place.commit(spec="run: {port: many}"), 2, "`run.port` is not right"),
        (lambda place: place.commit(spec=""), 2, "the spec is empty"),
    ],
)
def test_a_bad_spec_touches_nothing(
    place: Place, break_it: Callable[[Place], None], code: int, said: str
) -> None:
    break_it(place)
    done = place.model_deploy("release", ".")
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_ref_that_does_not_exist_names_the_near_ones(place: Place) -> None:
    done = place.model_deploy("release", ".", "--ref", "mian")
    assert done.returncode == 2
    assert "did you mean main" in done.stderr


def test_the_newest_of_the_waiting_releases_goes_on_and_those_between_are_superseded(place: Place) -> None:
    place.released()
    before = int(place.answer().headers["X-Model-Deploy-Release"])
    place.commit(spec=(SPEC % ("", 40)).replace("window: 30", "window: 120"))
    argv = [str(Path(sys.executable).parent / "model-deploy"), "release", "."]
    options = {
        "cwd": place.repository,
        "env": place.environment,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    first = subprocess.Popen(argv, text=True, **options)
    for line in first.stdout or ():
        if line.strip().startswith("switch"):
            break
    place.commit()  # the first one bakes long enough for two more to come; they need not
    second = subprocess.Popen(argv, text=True, **options)
    for line in second.stdout or ():
        if line.strip().startswith("reach the node"):
            break
    third = subprocess.Popen(argv, text=True, **options)
    said = [process.communicate(timeout=120) for process in (first, second, third)]
    assert [process.returncode for process in (first, second, third)] == [0, 3, 0], said
    assert "a newer release has been asked for" in said[1][1]
    assert int(place.answer().headers["X-Model-Deploy-Release"]) == before + 2


def test_a_controller_that_is_killed_leaves_the_earlier_release_live(place: Place) -> None:
    place.released()
    before = place.answer().headers["X-Model-Deploy-Release"]
    place.commit(spec=(SPEC % ("", 20)).replace("window: 30", "window: 4"))
    argv = [str(Path(sys.executable).parent / "model-deploy"), "release", "."]
    process = subprocess.Popen(
        argv, env=place.environment, cwd=place.repository, stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout or ():
        if line.strip().startswith("smoke test after"):
            break
    process.kill()
    process.wait()
    assert place.answer().headers["X-Model-Deploy-Release"] != before, "it was killed after the switch"
    wait_until(lambda: place.answer().headers["X-Model-Deploy-Release"] == before, 15)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    import time

    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
