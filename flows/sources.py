"""What is released: a checkout, what it says of itself, the key of its build, and the model it asks for."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.checkout import Checkout, check_out
from blocks.environment import Environment
from flows import earlier
from releases.model_version import is_version
from releases.problem import Unreachable
from releases.release import ReleasedModel
from releases.source_key import source_key
from releases.spec import Model, ServiceSpec
from releases.spec_file import name_of, read_spec


@dataclass(frozen=True)
class Sources:
    """What is released: the checkout, what it says of itself, and the key of its build."""

    checkout: Checkout
    spec: ServiceSpec
    service: str
    key: str


def _worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Only what the outside world did; a wrong ref or spec stays wrong."""
    return isinstance(state.result(raise_on_failure=False), Unreachable)


@task(
    name="check out",
    task_run_name="check out",
    retries=2,
    retry_delay_seconds=[1, 5],
    retry_condition_fn=_worth_retrying,
    cache_policy=NO_CACHE,
)
def read_sources(
    where: Environment, source: str, ref: str, path: str, folder: Path, also: str = ""
) -> Sources:
    """Check out, read the spec, and compute the key of the build."""
    into = Path(tempfile.mkdtemp(dir=folder))
    checkout = check_out(source, ref, path, into, also)
    spec = read_spec(checkout.folder)
    checkout.require(spec.build.dockerfile)
    bases = where.builder.bases(checkout.folder, spec.build)
    key = "" if checkout.dirty else source_key(checkout.tree, spec.build, bases)
    service = name_of(spec, Path(path).name or Path(source.rstrip("/").removesuffix(".git")).resolve().name)
    spec = spec.model_copy(update={"run": spec.run.naming_secrets(service)})
    return Sources(checkout, spec, service, key)


def find_model(where: Environment, sources: Sources, asked: str) -> ReleasedModel | None:
    """The model as it is published now; an alias is followed here, once. Raises BadInput."""
    wanted, models = Model.parse(asked) if asked else sources.spec.model, where.models()
    if wanted is None:
        return None
    if is_version(wanted.version):  # what an alias names is published here, or nowhere
        published = {one.manifest.version for one in models.versions(wanted.name)}
        if wanted.version not in published:
            brought = earlier.bring_model(where, sources.service, wanted)
            if brought:
                return brought
        if not asked and not published:
            get_run_logger().info("%s is published nowhere: the image must carry it", wanted)
            return ReleasedModel(name=wanted.name, version=wanted.version)
    found = models.released(wanted)
    get_run_logger().info("%s is %s, SHA-256 %s", wanted, found, found.sha256)
    return found
