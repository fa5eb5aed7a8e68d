"""Whole releases: a real Prefect server, a real engine, a real registry, a service in a real repository."""

import json
import re
import secrets
import signal
import subprocess
from collections.abc import Callable

import pytest

from deployments.load import Request, running
from tests.controllers import Command, wait_until
from tests.place import Place, command

pytestmark = pytest.mark.containers


def test_a_release_is_live_and_the_same_sources_are_not_built_again(place: Place) -> None:
    (place.repository / "new.txt").write_text(secrets.token_hex(8))  # whatever other tests have released
    assert "tests and build" in place.released()
    assert place.answer().json()["answer"] == "right"
    again = place.model_deploy("release", ".")
    assert "(built before)" in again.stdout
    assert "tests and build" not in again.stdout
    assert place.answer().status_code == 200
    for name, kept in log_limits(place).items():
        assert kept, f"the log of {name} may fill the disk"


def log_limits(place: Place) -> dict[str, str]:
    """Of the registry, the edge, the agent and the service: how much of its log is kept."""
    names = ["docker", "ps", "-aq", "--filter", f"label=model-deploy.node={place.node}"]
    found = subprocess.run(names, check=True, capture_output=True, text=True).stdout.split()
    form = '{{.Name}} {{with .HostConfig.LogConfig.Config}}{{index . "max-size"}}{{end}}'
    argv = ["docker", "inspect", "--format", form, *found]
    told = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    limits = {name: kept for name, _, kept in (line.partition(" ") for line in told.splitlines())}
    assert {name.rpartition("-")[2] for name in limits} > {"registry", "edge", "agent"}
    return limits


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("wrong", ["the smoke check `right` failed", '"answer": "wrong"', '{"answer": "right"}']),
        ("crashes", ["exited before it was ready: exit code 3", "cannot go on: no weights"]),
        ("never healthy", ["did not become ready in time", "limit 5 s", "HTTP 503"]),
        ("too slow", ["the smoke check `right` failed", "p95 within 500 ms", "over 3 requests"]),
    ],
)
@pytest.mark.fault(14, 15)
def test_a_bad_service_is_taken_back_while_the_old_one_serves(
    place: Place, behaviour: str, said: list[str]
) -> None:
    before = str(place.well())
    place.commit(behaviour)
    with running(Request(place.port), rate=50) as load, place.without_litter(images=1):
        done = place.model_deploy("release", ".")
    assert done.returncode == 1
    for words in [*said, f"release {before} is live", "was taken back", f"starting {behaviour}", "(limit "]:
        assert words in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert load.failures == []
    assert load.releases == {before}
    assert "expected: " in done.stderr
    # Its container is gone: its node stores its lines.
    assert "next: model-deploy logs sample --since 10m " in done.stderr


def test_a_crash_in_the_bake_is_taken_back(place: Place) -> None:
    before = str(place.well())
    place.commit("crashes later", bake=10)
    with place.without_litter(images=1):
        done = place.model_deploy("release", ".")
    assert done.returncode == 1
    assert "exit code 4" in done.stderr
    assert str(place.live()) == before


def test_two_rollbacks_go_two_releases_back(place: Place) -> None:
    for _ in range(3):
        place.released()
    third = place.live()
    for restored in (third - 1, third - 2):
        done = place.model_deploy("rollback", "sample")
        assert done.returncode == 0, done.stderr
        assert f"restores {restored}" in place.model_deploy("history", "sample").stdout.splitlines()[0]


def test_a_rollback_to_an_image_that_is_gone_touches_nothing(place: Place) -> None:
    for bake in (0.01, 0.02):  # sources of their own, so images of their own
        place.released(bake=bake)
    live = place.live()
    _, older = json.loads(place.model_deploy("history", "sample", "--json").stdout)[:2]
    digest = older["release"]["image"].rpartition("@sha256:")[2]
    link = f"/var/lib/registry/docker/registry/v2/repositories/sample/_manifests/revisions/sha256/{digest}"
    registry = f"{place.node}-registry"
    subprocess.run(["docker", "exec", registry, "rm", "-r", link], check=True)
    subprocess.run(["docker", "restart", "-t", "1", registry], check=True, capture_output=True)  # its cache
    done = place.model_deploy("rollback", "sample")
    assert done.returncode == 3
    assert "the image is no longer in the registry" in done.stderr
    assert place.live() == live
    newest = json.loads(place.model_deploy("history", "sample", "--json").stdout)[0]
    assert newest["release"]["number"] == live, "not even a number was taken"


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
    live = place.well()
    break_it(place)
    with place.without_litter(images=0):
        done = place.model_deploy("release", ".")
    assert place.live() == live
    newest = json.loads(place.model_deploy("history", "sample", "--json").stdout)[0]
    assert newest["release"]["number"] == live, "not even a number was taken"
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_ref_that_does_not_exist_names_the_near_ones(place: Place) -> None:
    done = place.model_deploy("release", ".", "--ref", "mian")
    assert done.returncode == 2
    assert "did you mean main" in done.stderr


@pytest.mark.fault(24)
def test_the_newest_of_the_waiting_releases_goes_on_and_those_between_are_superseded(place: Place) -> None:
    before = place.well()
    place.commit(bake=25, window=8)
    first = place.start("release", ".")
    first.wait_for("switch")
    place.commit()  # the first one bakes long enough for two more to come; they need not
    second = place.start("release", ".")
    second.wait_for("reach the node")
    third = place.start("release", ".")
    done = [each.wait() for each in (first, second, third)]
    assert [one.returncode for one in done] == [0, 3, 0], done
    assert re.search(r"^ +bake +done +2\d\.", done[0].stdout, re.MULTILINE), "the window cut the bake short"
    assert "a newer release has been asked for" in done[1].stderr
    assert "waiting: another release of sample is going on in local" in done[2].stdout
    assert done[2].stderr == ""
    assert place.live() == before + 2
    assert "Superseded" in place.states("release")


def in_mid_release(place: Place, step: str, window: float = 60) -> tuple[int, Command]:
    """What is live, and the command of a release after it, which has done the step."""
    before = place.well()
    place.commit(bake=20, window=window)
    controller = place.start("release", ".")
    controller.wait_for(step)
    return before, controller


def test_a_controller_that_is_killed_leaves_the_earlier_release_live(place: Place) -> None:
    before, controller = in_mid_release(place, "smoke test after", window=4)
    controller.kill()
    assert place.live() != before, "it was killed after the switch"
    wait_until(lambda: place.live() == before, 15)
    place.forget_leases()


@pytest.mark.parametrize("step", ["reach the node", "smoke test", "switch"])
def test_a_cancel_leaves_the_earlier_release_live(place: Place, step: str) -> None:
    before, controller = in_mid_release(place, step)
    place.cancel_newest()
    done = controller.wait(30)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert place.live() == before
    assert place.states("release")[0] == "Cancelled"


@pytest.mark.parametrize("step", ["reach the node", "smoke test", "switch"])
def test_ctrl_c_is_a_cancel(place: Place, step: str) -> None:
    before, controller = in_mid_release(place, step)
    controller.signal(signal.SIGINT)
    done = controller.wait(30)
    assert (done.returncode, done.stderr) == (130, "cancelled; what was live before is live\n")
    assert place.live() == before
    assert place.states("release")[0] == "Cancelled"


def test_a_command_started_as_a_person_does_prints_json(place: Place) -> None:
    import json

    place.released()
    done = command(place, "release", ".", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["number"] == place.live()
    assert told["reused"]
