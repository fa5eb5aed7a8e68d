"""A release that is written must be the release that is read."""

import json
from pathlib import Path

from releases.desired import ServiceDesired, propose
from releases.release import Release, ReleasedModel
from releases.spec_file import parse_spec
from tests.releases.test_swap import release

DOCS = Path(__file__).parent.parent.parent / "docs" / "describe-a-service.md"


def test_everything_a_spec_may_say_survives_the_ledger_and_the_node() -> None:
    everything = (
        DOCS.read_text(encoding="utf-8").split("## Everything")[1].split("```yaml\n")[1].split("```")[0]
    )
    spec = parse_spec(everything)
    model = ReleasedModel(name="iris", version="v1", sha256="a" * 64)
    made = release(1).model_copy(update={"run": spec.run, "smoke": tuple(spec.smoke), "model": model})
    again = Release.model_validate_json(made.model_dump_json())
    assert again == made
    assert again.fingerprint == made.fingerprint
    wanted = propose(ServiceDesired(), made, "k")
    assert ServiceDesired.model_validate_json(wanted.model_dump_json()) == wanted


def test_a_release_from_before_models_had_checksums_is_the_same_release() -> None:
    """A node that is given other words for what runs on it would start it again."""
    model = ReleasedModel(name="iris", version="v1")
    old = release(1).model_copy(update={"model": model}).model_dump_json()
    assert '"model":{"name":"iris","version":"v1"}' in old
    read = Release.model_validate_json(old)
    assert read.model == model
    assert read.model_dump_json() == old


def test_a_release_from_before_there_were_volumes_is_the_same_release() -> None:
    young = {"entrypoint", "command", "privileged", "volumes"}
    assert not young & json.loads(release(1).model_dump_json())["run"].keys()
    said = release(1, volumes=[{"path": "/a", "host": "/b"}]).model_dump_json()
    assert '"volumes":[{"path":"/a","host":"/b"}]' in said
