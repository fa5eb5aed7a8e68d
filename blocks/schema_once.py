"""Prefect makes a block's JSON schema anew for each of its fields whenever it is saved: seconds of work."""

from copy import deepcopy
from typing import Any, ClassVar


class SchemaOnce:
    """Before `Block` among a block's bases: its schema is made once for each way to ask for it."""

    _schemas: ClassVar[dict[tuple[Any, ...], dict[str, Any]]] = {}

    @classmethod
    def model_json_schema(cls, *args: Any, **given: Any) -> dict[str, Any]:
        """What Prefect's Block says; a copy, since callers may change what they get."""
        asked = (cls, args, tuple(sorted(given.items())))
        if asked not in SchemaOnce._schemas:
            SchemaOnce._schemas[asked] = super().model_json_schema(*args, **given)  # type: ignore[misc]
        return deepcopy(SchemaOnce._schemas[asked])
