"""Pushed and pulled with tokens, as at Artifact Registry: the sandbox before a real registry, a real engine."""

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.google_api import GoogleApi
from blocks.image_registry import ImageRegistry
from releases.problem import Failed
from sandbox.server import running
from sandbox.world import Settings, World
from tests.provisioned import DESCRIBED, Provisioned
from tests.sandbox.conftest import Cloud
from tests.small_image import small_image

pytestmark = pytest.mark.containers
OF_REPOSITORY = (
    "gcloud artifacts repositories add-iam-policy-binding model-deploy --project=sandbox "
    "--location=europe-west1 --member=MEMBER --role=roles/artifactregistry."
)


@pytest.fixture
def tiny() -> Iterator[str]:
    with small_image() as made:
        yield made


@pytest.fixture
def there(registry: str) -> Iterator[Provisioned]:
    world = World(Settings(pending_seconds=0.002, running_seconds=0.002, registry=registry))
    with running(world) as at:
        yield Provisioned(Cloud(world, at))


def as_(there: Provisioned, member: str, folder: Path) -> ImageRegistry:
    token = folder / secrets.token_hex(4)
    token.write_text(there.cloud.token(member) if member else "ya29.nobodys")
    prefix = f"localhost:{there.cloud.at.api.rpartition(':')[2]}/sandbox/model-deploy"
    return ImageRegistry(prefix=prefix, google=GoogleApi(access_token_file=token))


def test_who_lacks_the_right_is_told_which_and_how_to_give_it(
    there: Provisioned, tiny: str, tmp_path: Path
) -> None:
    there.apply()
    node, builder, deployer = (
        as_(there, f"serviceAccount:{one}", tmp_path)
        for one in (DESCRIBED.node, DESCRIBED.builder, DESCRIBED.deployer)
    )
    image = builder.push(tiny, builder.repository("iris"), ["one", "two"])
    assert deployer.find(deployer.repository("iris"), "two") == image
    assert deployer.find(deployer.repository("iris"), "three") is None
    assert deployer.push(tiny, deployer.repository("iris"), ["four"]) == image
    subprocess.run(["docker", "image", "rm", "-f", image, tiny], capture_output=True, check=True)
    stranger = as_(there, "user:intern@acme.com", tmp_path)
    for refuse in (lambda: stranger.pull(image), lambda: stranger.require(image)):
        with pytest.raises(Failed, match="the registry refuses us") as refused:
            refuse()
        assert refused.value.expected == "the permission artifactregistry.repositories.downloadArtifacts"
        assert refused.value.next_step == f"{OF_REPOSITORY}reader"
    for nobody in (ImageRegistry(prefix=node.prefix), as_(there, "", tmp_path)):
        with pytest.raises(Failed, match="the registry refuses us"):
            nobody.pull(image)
    node.pull(image)  # last: an engine that has had a manifest once asks nobody for it again
    with pytest.raises(Failed, match="the registry refuses the push") as refused:
        node.push(image, node.repository("iris"), ["three"])
    assert refused.value.expected == "the permission artifactregistry.repositories.uploadArtifacts"
    assert refused.value.next_step == f"{OF_REPOSITORY}writer"
