"""What is wrong with the sources touches nothing (FAULTS.md row 10): nothing is pushed, the old one serves."""

import pytest

from deployments.load import Request, running
from tests.faults.tested import FINE, commit, containers_of_tests
from tests.place import Place

pytestmark = pytest.mark.containers

JUNIT = """<testsuite tests="2"><testcase classname="test_model" name="test_shape" time="0.1"/>
<testcase classname="test_model" name="test_accuracy" time="0.2">
<failure message="accuracy 0.41, wanted 0.9"/></testcase></testsuite>"""


def pushed(place: Place) -> set[str]:
    port = place.home.chosen().registry_port
    import httpx

    return set(httpx.get(f"http://127.0.0.1:{port}/v2/sample/tags/list", timeout=5).json()["tags"])


@pytest.mark.parametrize(
    ("command", "junit", "said"),
    [
        (
            '["false"]',
            JUNIT,
            ["1 of 2 tests failed", "test_model::test_accuracy", "accuracy 0.41, wanted 0.9"],
        ),
        ('["sh", "-c", "kill -9 $$"]', FINE, ["the tests failed", "exit code 0"]),
        ('["sleep", "60"]', FINE, ["took too long", "done within 3 s"]),
        ('["/nowhere"]', FINE, ["the tests failed", "/nowhere"]),
    ],
    ids=["tests fail", "tests are killed", "tests hang", "tests cannot start"],
)
@pytest.mark.fault(10)
def test_tests_that_do_not_pass_stop_the_release(
    place: Place, before: int, command: str, junit: str, said: list[str]
) -> None:
    known = pushed(place)
    commit(place, command, junit)
    with running(Request(place.port), rate=20) as load:
        done = place.model_deploy("release", ".")
    assert done.returncode == 1
    for words in said:
        assert words in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    shown = place.runs("release")[0]["state"]["message"]  # in Prefect's UI
    for words in said[:2]:
        assert words in shown
    assert pushed(place) == known
    assert load.failures == []
    assert load.releases == {str(before)}
    assert containers_of_tests(place) == []


def test_tests_that_pass_are_shown_as_a_table(place: Place, before: int) -> None:
    commit(place, '["true"]')
    done = place.model_deploy("release", ".")
    assert done.returncode == 0, done.stderr
    run = place.runs("release")[0]["id"]
    artifacts = place.api("POST", "/artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
    table = next(one for one in artifacts if one["type"] == "table")
    assert "test_model::test_shape" in str(table["data"])


@pytest.mark.parametrize(
    ("dockerfile", "code", "said"),
    [
        ("FROM python:3.11-slim\nRUN echo no such wheel && exit 7\n", 1, "no such wheel"),
        ("FROM nowhere.invalid/nothing:1\n", 4, "the base image nowhere.invalid/nothing:1 cannot be pulled"),
        ("FROM python:3.11-slim\nEXPOSE 1 2\nCMD true\n", 2, "one EXPOSE in the Dockerfile"),
    ],
    ids=["a step fails", "no such base image", "two ports"],
)
@pytest.mark.fault(10)
def test_an_image_that_cannot_be_built_stops_the_release(
    place: Place, before: int, dockerfile: str, code: int, said: str
) -> None:
    (place.repository / "Dockerfile").write_text(dockerfile)
    place.commit()
    done = place.model_deploy("release", ".")
    assert said in done.stderr, done.stderr
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert place.live() == before


def test_a_repository_without_a_dockerfile_is_told_what_to_write(place: Place, before: int) -> None:
    (place.repository / "Dockerfile").unlink()
    place.commit()
    done = place.model_deploy("release", ".")
    assert done.returncode == 2
    assert "there is no Dockerfile" in done.stderr
    assert place.live() == before


def test_a_repository_with_nothing_but_a_dockerfile_is_released(place: Place, before: int) -> None:
    spec = place.repository / "model-deploy.yaml"
    spec.unlink()
    place.git("commit", "--quiet", "--all", "-m", "no spec")
    done = place.model_deploy("release", ".")
    assert done.returncode == 0, done.stderr
    assert "NO TESTS ARE RUN" in done.stdout
    assert "NO SMOKE CHECKS" in done.stdout
    assert place.live() == before + 1
