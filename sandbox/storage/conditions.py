"""Preconditions: `ifGenerationMatch` and its three relatives."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query
from starlette.responses import Response

from sandbox.errors import ApiError
from sandbox.storage.bucket import Stored


@dataclass(frozen=True)
class Conditions:
    """What the caller believes of the object as it is."""

    generation: int | None = None
    not_generation: int | None = None
    metageneration: int | None = None
    not_metageneration: int | None = None

    def hold(self, found: Stored | None) -> None:
        """412 unless all of them hold; generation 0 is that there is no live object."""
        generation = found.generation if found else 0
        metageneration = found.metageneration if found else None
        broken = (
            (self.generation is not None and self.generation != generation)
            or (self.not_generation is not None and self.not_generation == generation)
            or (self.metageneration is not None and self.metageneration != metageneration)
            or (self.not_metageneration is not None and self.not_metageneration == metageneration)
        )
        if broken:
            message = "At least one of the pre-conditions you specified did not hold."
            raise ApiError(412, "conditionNotMet", message)

    def unchanged(self, found: Stored) -> Response | None:
        """304 for a reader who has it already."""
        if self.not_generation == found.generation or self.not_metageneration == found.metageneration:
            return Response(status_code=304)
        Conditions(self.generation, None, self.metageneration, None).hold(found)
        return None


async def _conditions(
    generation: Annotated[int | None, Query(alias="ifGenerationMatch")] = None,
    not_generation: Annotated[int | None, Query(alias="ifGenerationNotMatch")] = None,
    metageneration: Annotated[int | None, Query(alias="ifMetagenerationMatch")] = None,
    not_metageneration: Annotated[int | None, Query(alias="ifMetagenerationNotMatch")] = None,
) -> Conditions:
    return Conditions(generation, not_generation, metageneration, not_metageneration)


If = Annotated[Conditions, Depends(_conditions)]
