"""What Prefect's Block does too often or too early for a flow that somebody waits for."""

from copy import deepcopy
from typing import Any, ClassVar, Self

from prefect.utilities.dispatch import lookup_type


class LightBlock:
    """Before `Block` among a block's bases."""

    _schemas: ClassVar[dict[tuple[Any, ...], dict[str, Any]]] = {}

    @classmethod
    def model_json_schema(cls, *args: Any, **given: Any) -> dict[str, Any]:
        """What Prefect's Block says, made once for each way to ask; a copy, since callers may change it.

        Prefect makes it anew for each of a block's fields whenever it is saved: seconds of work.
        """
        asked = (cls, args, tuple(sorted(given.items())))
        if asked not in LightBlock._schemas:
            LightBlock._schemas[asked] = super().model_json_schema(*args, **given)  # type: ignore[misc]
        return deepcopy(LightBlock._schemas[asked])

    @classmethod
    def get_block_class_from_key(cls, key: str) -> type[Self]:
        """The class of a slug: the one that is imported already, which every field's is.

        Prefect imports all its collections on this machine first; prefect-gcp alone takes half a second.
        """
        try:
            return lookup_type(cls, key)
        except KeyError:
            return super().get_block_class_from_key(key)  # type: ignore[misc,no-any-return]
