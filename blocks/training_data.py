"""What a model was trained on: read when the model is published, compared with what comes in later."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from blocks.model_folder import Source
from blocks.model_store import ModelStore
from releases.drift import TRAINING_FEATURES, Distribution, Training
from releases.problem import BadInput, Failed
from releases.release import ReleasedModel
from releases.store import Store


def training_features(file: Path) -> bytes:
    """The document for a table of training rows, CSV with a header or Parquet. Raises BadInput."""
    from pyarrow import ArrowException, csv, parquet, types  # noqa: PLC0415

    try:
        table = parquet.read_table(file) if file.suffix == ".parquet" else csv.read_csv(file)
    except (OSError, ArrowException) as error:
        raise BadInput(
            "the training data cannot be read",
            where=str(file),
            expected="CSV with a header, or Parquet",
            got=str(error).splitlines()[0][:200],
        ) from error
    numbers = [one.name for one in table.schema if types.is_floating(one.type) or types.is_integer(one.type)]
    if not numbers:
        raise BadInput(
            "no column of the training data holds numbers",
            where=str(file),
            got=", ".join(table.schema.names)[:200],
        )
    found = {name: Distribution.of(table.column(name).drop_null().to_pylist()) for name in numbers}
    return Training(features=found).model_dump_json(indent=2).encode() + b"\n"


@contextmanager
def with_training(sources: list[Source], file: Path) -> Iterator[list[Source]]:
    """The files of a model and one more: how what it was trained on is distributed. Raises BadInput."""
    if any(source.path == TRAINING_FEATURES for source in sources):
        raise BadInput(
            f"the model has a {TRAINING_FEATURES} already",
            expected="either that file or --training",
            got=f"both, and {file}",
        )
    data = training_features(file)
    with tempfile.TemporaryDirectory(prefix="model-deploy-training-") as scratch:
        made = Path(scratch) / TRAINING_FEATURES
        made.write_bytes(data)
        whole = [*sources, Source(TRAINING_FEATURES, made, len(data))]
        yield sorted(whole, key=lambda source: source.path)


def trained_on(store: Store, model: ReleasedModel | None) -> Training | None:
    """What was published with the model; None where nothing was. Raises Failed."""
    if model is None or not model.sha256:
        return None
    manifest = ModelStore(store).get(model.name, model.version).manifest
    file = next((one for one in manifest.files if one.path == TRAINING_FEATURES), None)
    if file is None:
        return None
    with tempfile.TemporaryDirectory(prefix="model-deploy-report-") as scratch:
        copy = Path(scratch) / "features"
        store.download(manifest.key_of(file), copy)
        try:
            return Training.model_validate_json(copy.read_bytes())
        except ValidationError as error:
            raise Failed(
                f"{TRAINING_FEATURES} of {model} cannot be read",
                where=manifest.key_of(file),
                got=error.errors()[0]["msg"],
            ) from error
