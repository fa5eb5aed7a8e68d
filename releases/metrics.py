"""The numbers in a model's manifest, `models/NAME/VERSION/manifest.json`."""

import json
from typing import Any

from releases.problem import Failed
from releases.spec import Model
from releases.store import NotFound, Store


def folder_of(model: Model) -> str:
    """Where the bucket has the model's files."""
    return f"models/{model.name}/{model.version}/"


def metrics_of(store: Store, model: Model) -> dict[str, float]:
    """Metric → value; nothing where there is no manifest or it names none. Raises Failed."""
    key = f"{folder_of(model)}manifest.json"
    try:
        manifest: Any = json.loads(store.read(key)[0])
        return {name: float(value) for name, value in (manifest.get("metrics") or {}).items()}
    except NotFound:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise Failed("a model's manifest cannot be read", where=key, got=str(error)) from error
