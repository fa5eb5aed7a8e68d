"""What an environment does for its target."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from blocks.environment import Environment
from blocks.targets.local import LocalTarget
from releases.problem import Unreachable

IMAGE = "localhost:1/iris@sha256:0"


def environment(target: object, have: object) -> Environment:
    return Environment.model_construct(
        target=cast("Any", target), registry=cast("Any", SimpleNamespace(have=have))
    )


def test_on_this_machine_an_image_is_had_before_its_agent_asks_for_it(tmp_path: Path) -> None:
    """The agent has no login of ours; where the registry is away, it tells what it meets itself."""
    had: list[str] = []
    here = LocalTarget(home=tmp_path, ports=[1], agent_image="none")
    environment(here, had.append).bring_image(IMAGE)
    assert had == [IMAGE]

    def away(_: str) -> None:
        raise Unreachable("the registry is away")

    environment(here, away).bring_image(IMAGE)


def test_what_runs_elsewhere_is_not_pulled_here() -> None:
    environment(SimpleNamespace(), lambda _: pytest.fail("it was pulled")).bring_image(IMAGE)
