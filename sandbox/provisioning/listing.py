"""Pages of lists, as the newer APIs have them."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query

from sandbox.errors import invalid
from sandbox.routing import Json

MOST = 100


@dataclass(frozen=True)
class Page:
    """What a list call asks for."""

    size: int
    token: str

    def of(self, field: str, found: list[Json]) -> Json:
        """One page of the resources, by name."""
        if self.token and not self.token.isdigit():
            raise invalid("The page token is invalid.")
        items, start = sorted(found, key=lambda one: str(one["name"])), int(self.token or 0)
        shown = items[start : start + self.size]
        answer: Json = {field: shown} if shown else {}
        return (
            {**answer, "nextPageToken": str(start + self.size)} if start + self.size < len(items) else answer
        )


async def _page(
    size: Annotated[int, Query(alias="pageSize", ge=0)] = MOST,
    token: Annotated[str, Query(alias="pageToken")] = "",
) -> Page:
    return Page(min(size, MOST) or MOST, token)


Asked = Annotated[Page, Depends(_page)]
