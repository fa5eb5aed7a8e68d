"""The status page is on every port that users reach: what cannot be read is not shown there."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.agent import understood
from agent.memory import Disk
from agent.sources import Unreadable
from releases.desired import Desired, ServiceDesired
from releases.swap_memory import Memory
from tests.releases.test_swap import release as a_release

SECRET = "hunter2"


def spoilt() -> dict[str, Any]:
    """A release as another version may have written it: a field of another kind beside a password."""
    written = json.loads(a_release(1).model_dump_json())
    written["run"] |= {"env": [f"PASSWORD={SECRET}"]}
    return written


def test_a_document_that_cannot_be_read_is_named_by_its_field_alone() -> None:
    document = json.loads(Desired(services={"iris": ServiceDesired()}).model_dump_json())
    document["services"]["iris"]["confirmed"] = spoilt()
    with pytest.raises(Unreadable) as caught:
        understood(json.dumps(document).encode())
    assert "services.iris.confirmed.run.env: Input should be" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_memory_that_cannot_be_read_is_named_by_its_field_alone(tmp_path: Path) -> None:
    (tmp_path / "iris.json").write_text(json.dumps({"confirmed": spoilt()}))
    memory, said = Disk(tmp_path).load("iris")
    assert memory == Memory()
    assert "confirmed.run.env: Input should be" in said
    assert SECRET not in said
