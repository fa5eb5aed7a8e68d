"""New weights on a real node without a new image; a spoilt file is refused and the old model goes on serving."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench.node import LocalNode, local_node
from blocks.model_folder import sources_in
from blocks.model_store import ModelStore
from blocks.store import DirectoryStore
from deployments.load import Request, running
from releases.problem import Failed
from releases.release import ReleasedModel
from releases.spec import Model
from tests.agent.test_swap_on_a_node import docker
from tests.killed_work import Silent

pytestmark = pytest.mark.containers


@pytest.fixture(scope="module")
def shared(sample_image: str) -> Iterator[LocalNode]:
    with local_node(sample_image) as made:
        yield made


def publish(node: LocalNode, version: str, folder: Path) -> ReleasedModel:
    store = DirectoryStore(path=node.target.home / "store")
    folder.mkdir(exist_ok=True)
    (folder / "weights.txt").write_text(version)
    models, wanted = ModelStore(store), Model(name="sample", version=version)
    models.publish(wanted, sources_in(folder), Silent())
    return models.released(wanted)


def answer(node: LocalNode) -> dict[str, str]:
    return httpx.get(f"http://127.0.0.1:{node.port}/", timeout=10).json()


def test_weights_change_without_a_new_image_and_the_container_knows_which(
    shared: LocalNode, tmp_path: Path
) -> None:
    for version in ("v1", "v1.1"):
        model = publish(shared, version, tmp_path)
        shared.confirmed(shared.release(model=model))
        told = answer(shared)
        assert (told["weights"], told["MODEL_VERSION"], told["MODEL_SHA256"]) == (
            version,
            version,
            model.sha256,
        )
    name = f"{shared.target.node}-sample-r{shared.numbers}"
    mounts = docker("inspect", "--format", "{{range .Mounts}}{{.Destination}} {{.RW}}{{end}}", name)
    assert mounts.strip() == "/model false"


@pytest.mark.fault(29)
def test_a_spoilt_file_is_refused_before_anything_starts_and_the_old_model_serves(
    shared: LocalNode, tmp_path: Path
) -> None:
    shared.confirmed(shared.release(model=publish(shared, "v2", tmp_path)))
    spoilt = publish(shared, "v3", tmp_path)
    (file,) = (shared.target.home / "store" / "models" / "sample" / "v3").glob("weights.txt@*")
    file.write_text("xx")
    with running(Request(shared.port), rate=50) as load, pytest.raises(Failed) as caught:
        shared.verified(shared.release(model=spoilt))
    assert "failed in `fetch`" in caught.value.what
    assert "weights.txt of sample v3 is not what was published" in caught.value.got
    assert caught.value.next_step == "model-deploy model show sample v3"
    assert load.failures == []
    assert answer(shared)["weights"] == "v2"


def test_a_model_that_was_spoilt_on_the_node_is_mended_before_it_is_started_again(
    shared: LocalNode, tmp_path: Path
) -> None:
    old = publish(shared, "v4", tmp_path)
    shared.confirmed(shared.release(model=old))
    shared.confirmed(shared.release(model=publish(shared, "v5", tmp_path)))
    (shared.target.home / "models" / old.sha256 / "weights.txt").write_text("xx")
    shared.confirmed(shared.release(model=old))
    assert answer(shared)["weights"] == "v4"
