"""Tests and build side by side: what fails first ends the other; a cancel where no worker carries it out."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Cancelling

from flows import building
from flows.stopwatch import Stopwatch
from flows.turn import current_run, stop_if_cancelled
from releases.problem import Cancelled, Failed
from releases.spec import ServiceSpec

pytestmark = pytest.mark.usefixtures("server")
CHECKOUT = SimpleNamespace(dirty=True, short="abc-dirty", revision="abc", source="here", folder=None)
SOURCES: Any = SimpleNamespace(checkout=CHECKOUT, spec=ServiceSpec(), service="iris", key="")


def cancel(run: Any) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Cancelling(), force=True)


def released(build: Callable[..., None]) -> tuple[list[str], BaseException | None]:
    """Which images were pushed, and what the run ended with; `build` is given the run and what stops it."""
    pushed: list[str] = []

    @flow
    def releases() -> None:
        run = current_run()
        builder = SimpleNamespace(build=lambda *given: build(run, given[-1]), forget=lambda _: None)
        registry = SimpleNamespace(repository=lambda name: name, push=lambda local, *_: pushed.append(local))
        stop_if_cancelled()  # so that Prefect was asked a moment ago
        where: Any = SimpleNamespace(builder=builder, registry=registry, document="1")
        building.find_or_make_image(where, SOURCES, Stopwatch(lambda _: None), rebuild=False)

    try:
        releases()
    except Cancelled as cancelled:
        return pushed, cancelled
    return pushed, None


def test_a_cancel_stops_the_build() -> None:
    stopped: list[bool] = []

    def build(run: object, stop: threading.Event) -> None:
        cancel(run)
        stopped.append(stop.wait(30))

    started = time.monotonic()
    pushed, ended = released(build)
    assert isinstance(ended, Cancelled)
    assert (stopped, pushed) == ([True], [])
    assert time.monotonic() - started < 20


def test_a_cancel_in_the_last_moment_of_the_build_comes_before_the_push() -> None:
    pushed, ended = released(lambda run, _: cancel(run))
    assert isinstance(ended, Cancelled)
    assert pushed == []


def test_a_build_that_nobody_cancels_is_pushed() -> None:
    pushed, ended = released(lambda *_: None)
    assert ended is None
    assert pushed == ["model-deploy-build/iris-1:abc-dirty"]


@pytest.mark.parametrize("first", ["the tests failed", "the build failed"])
def test_what_fails_first_ends_the_other_and_is_what_is_said(first: str) -> None:
    """A person whose tests fail at once does not wait for a long build, nor is told of its end."""
    stopped: list[bool] = []

    def fail_or_wait(name: str, stop: threading.Event) -> None:
        if name == first:
            raise Failed(first)
        stopped.append(stop.wait(30))
        raise Failed(f"{name}, since it was stopped")

    @flow
    def releases() -> None:
        spec = ServiceSpec.model_validate({"test": {"target": "test"}})
        sources = SimpleNamespace(checkout=CHECKOUT, spec=spec, service="iris", key="")

        def build(_folder: object, build: Any, *given: Any) -> None:
            if build.target != "test":
                fail_or_wait("the build failed", given[-1])

        builder = SimpleNamespace(
            build=build, test=lambda *given: fail_or_wait("the tests failed", given[-1])
        )
        where: Any = SimpleNamespace(builder=builder)
        building.test_and_build(where, cast("Any", sources), "model-deploy-build/iris-1:abc")

    started = time.monotonic()
    with pytest.raises(Failed) as failed:
        releases()
    assert failed.value.what == first
    assert stopped == [True]
    assert time.monotonic() - started < 20
