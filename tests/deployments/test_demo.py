"""What `script/demo` takes for the way back that it shows: a wrong label's, nothing else."""

import json

import pytest

from blocks.smoke import run_checks
from deployments.demo import refused
from deployments.stack import ROOT
from releases.problem import Failed, Problem, Unreachable
from releases.spec_file import read_spec
from releases.status import RELEASE_HEADER
from tests.http_server import Answer, serving

TAKEN_BACK = "release 2 was taken back: %s; release 1 is live"


def smoke_test(label: str, release: int = 2) -> None:
    """The sample service's own checks, as the flow runs and tells them, of one that always says that."""
    told = Answer(json.dumps({"label": label}).encode(), headers={RELEASE_HEADER: str(release)})
    with serving(lambda _: told) as address:
        try:
            run_checks(read_spec(ROOT).smoke, address, 2, None, lambda: None)
        except Failed as failed:
            failed.what = TAKEN_BACK % failed.what
            raise


def test_a_wrong_label_is_what_is_to_be_seen() -> None:
    told = refused(lambda: smoke_test("setosa"))
    assert (told.expected, told.got) == ('{"label": "virginica"}', '{"label": "setosa"}')


@pytest.mark.parametrize(
    "problem",
    [
        Failed("the image cannot be built", where="Dockerfile", got="no space left on device"),
        Unreachable("the registry does not answer", next_step="model-deploy doctor"),
        Failed(TAKEN_BACK % "it did not become ready in time", expected="status 200", got="HTTP 503"),
        Failed(
            TAKEN_BACK % "the smoke check `a virginica is a virginica` failed",
            expected="an answer within 5 s",
            got="ReadTimeout: timed out",
        ),
    ],
    ids=lambda problem: problem.got or problem.what,
)
def test_any_other_failure_is_shown_and_no_success(problem: Problem) -> None:
    def release() -> None:
        raise problem

    with pytest.raises(Failed, match="the wrong version failed, but not for its wrong answer") as caught:
        refused(release)
    assert str(problem) in str(caught.value)


def test_an_answer_of_the_old_release_is_no_wrong_label() -> None:
    with pytest.raises(Failed, match="not for its wrong answer"):
        refused(lambda: smoke_test("setosa", release=1))


def test_a_wrong_version_that_goes_out_is_a_failure() -> None:
    with pytest.raises(Failed, match="the wrong version was released"):
        refused(lambda: None)
