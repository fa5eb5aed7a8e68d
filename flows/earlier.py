"""What the environments that this one promotes from know already: images built there, releases good there."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment, load_environment
from blocks.image_registry import ImageRegistry
from releases.evidence import Proof
from releases.ledger import Entry
from releases.model_manifest import MANIFEST, version_prefix
from releases.release import ReleasedModel
from releases.source_key import LABEL, source_tag
from releases.spec import Model
from releases.store import Store


@dataclass(frozen=True)
class Built:
    """An image that was built before, and the registry that has it."""

    image: str
    registry: ImageRegistry


def built(where: Environment, service: str, key: str) -> Built | None:
    """The image of the sources with this key: here, else one that was confirmed where releases come from."""
    others, tag = before(where), source_tag(key)
    shared = any(one.registry.prefix == where.registry.prefix for one in others)
    mine = where.registry.find(where.registry.repository(service), tag)
    if mine and (_is_ours(where, service, mine, key, shared=shared) or _was_good(others, service, mine, key)):
        return Built(mine, where.registry)
    unproven = mine
    for other in others:
        image = other.registry.find(other.registry.repository(service), tag)
        if image and _was_good([other], service, image, key):
            return Built(image, other.registry)
        unproven = unproven or image
    if unproven:
        why = (
            "was never confirmed where it was built from these sources"
            if shared or not mine
            else "was not built from these sources: the tag was moved"
        )
        get_run_logger().warning("%s, tagged %s, %s; it is not used", unproven, tag, why)
    return None


def proof(where: Environment, service: str, image: str, model: ReleasedModel | None) -> Proof | None:
    """Where this image with this model was confirmed before."""
    for environment in before(where):
        for entry in _entries([environment], service, image):
            release, outcome = entry.release, entry.outcome
            if entry.confirmed and outcome and release.model == model:
                return Proof(
                    environment=environment.name,
                    number=release.number,
                    confirmed=outcome.at,
                    run=release.created_by,
                    tests=release.tests,
                )
    return None


def tests_of(where: Environment, service: str, image: str) -> int:
    """How many tests the image's sources have passed when it was built, here or where it comes from."""
    entries = _entries([where, *before(where)], service, image)
    return next((entry.release.tests for entry in entries if entry.release.tests), 0)


def bring_model(where: Environment, service: str, wanted: Model) -> ReleasedModel | None:
    """A version that is not published here is copied from where releases come from, if it was good there."""
    for other in before(where):
        for entry in other.ledger(service).newest_first():
            model = entry.release.model
            same = model and model.sha256 and (model.name, model.version) == (wanted.name, wanted.version)
            if entry.confirmed and model and same:
                copy_model(other.models().store, where.models().store, model)
                get_run_logger().info("%s was copied from %s, where it was good", wanted, other.name)
                return model
    return None


@task(task_run_name="copy the model", cache_policy=NO_CACHE)
def copy_model(source: Store, store: Store, model: ReleasedModel | None) -> None:
    """The model's files in the environment's own store; the manifest last, which makes it a version there."""
    if model is None or not model.sha256:
        return
    keys = list(source.list(version_prefix(model.name, model.version)))
    there = set(store.list(version_prefix(model.name, model.version)))
    with tempfile.TemporaryDirectory(prefix="model-deploy-model-") as folder:
        for key in sorted(keys, key=lambda key: key.endswith(MANIFEST)):
            if key not in there:
                file = Path(folder) / "file"
                source.download(key, file)
                store.upload(key, file)


def before(where: Environment) -> list[Environment]:
    """The environments that this one promotes from."""
    return [load_environment(name) for name in where.rules.promotes_from]


def _is_ours(where: Environment, service: str, image: str, key: str, *, shared: bool) -> bool:
    """Whether it was built for this environment, and from these sources: a tag can be moved.

    The image itself is only asked where the ledger does not know it: a run has ended after its push.
    """
    known = next(_entries([where], service, image), None)
    if known:
        return known.release.source_key == key
    return not shared and where.registry.label(image, LABEL) == key


def _was_good(environments: Sequence[Environment], service: str, image: str, key: str) -> bool:
    entries = _entries(environments, service, image)
    return any(entry.confirmed and entry.release.source_key == key for entry in entries)


def _entries(environments: Sequence[Environment], service: str, image: str) -> Iterator[Entry]:
    """The image's releases, the newest of each environment first; read no further than asked for."""
    digest = image.rpartition("@")[2]
    everywhere = (entry for one in environments for entry in one.ledger(service).newest_first())
    return (entry for entry in everywhere if entry.release.digest == digest)
