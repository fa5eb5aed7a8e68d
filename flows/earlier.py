"""What the environments that this one promotes from know already: images built there, releases good there."""

from dataclasses import dataclass

from blocks.environment import Environment, load_environment
from blocks.image_registry import ImageRegistry
from releases.evidence import Proof
from releases.release import ReleasedModel


@dataclass(frozen=True)
class Built:
    """An image that was built before, and the registry that has it."""

    image: str
    registry: ImageRegistry


def built(where: Environment, service: str, tag: str) -> Built | None:
    """The image behind the tag: here, else where releases come from."""
    registries = [where.registry, *(one.registry for one in before(where))]
    for registry in {one.prefix: one for one in registries}.values():
        image = registry.find(registry.repository(service), tag)
        if image:
            return Built(image, registry)
    return None


def proof(where: Environment, service: str, image: str, model: ReleasedModel | None) -> Proof | None:
    """Where this image with this model was confirmed before."""
    digest = image.rpartition("@")[2]
    for environment in before(where):
        for entry in environment.ledger(service).newest_first():
            release, outcome = entry.release, entry.outcome
            if entry.confirmed and outcome and release.digest == digest and release.model == model:
                return Proof(
                    environment=environment.name,
                    number=release.number,
                    confirmed=outcome.at,
                    run=release.created_by,
                )
    return None


def before(where: Environment) -> list[Environment]:
    """The environments that this one promotes from."""
    return [load_environment(name) for name in where.rules.promotes_from]
