"""Pages of lists."""

import base64
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query

from sandbox.compute.filters import parse
from sandbox.errors import invalid, not_implemented
from sandbox.routing import Json

MOST = 500


@dataclass(frozen=True)
class Page:
    """What a list call asks for."""

    filter: str
    most: int
    token: str
    order: str

    def of(self, kind: str, address: str, found: list[Json]) -> Json:
        """One page of the resources, by name or newest first."""
        items = sorted(found, key=lambda resource: str(resource["name"]))
        if self.order == "creationTimestamp desc":
            items.sort(key=lambda resource: str(resource.get("creationTimestamp", "")), reverse=True)
        elif self.order not in {"", "name"}:
            raise not_implemented(f"orderBy={self.order}")
        if self.filter:
            test = parse(self.filter)
            items = [resource for resource in items if test(resource)]
        start = self._start()
        page: Json = {"kind": kind, "id": address.partition("/compute/v1/")[2], "selfLink": address}
        shown = items[start : start + self.most]
        if shown:
            page["items"] = shown  # the real one leaves an empty list out, too
        if start + self.most < len(items):
            page["nextPageToken"] = base64.urlsafe_b64encode(str(start + self.most).encode()).decode()
        return page

    def _start(self) -> int:
        if not self.token:
            return 0
        try:
            return int(base64.urlsafe_b64decode(self.token))
        except ValueError:
            raise invalid(f"Invalid value for field 'pageToken': '{self.token}'.") from None


async def _page(
    filter: str = "",  # noqa: A002 - the API's name
    max_results: Annotated[int, Query(alias="maxResults", ge=0)] = MOST,
    page_token: Annotated[str, Query(alias="pageToken")] = "",
    order_by: Annotated[str, Query(alias="orderBy")] = "",
) -> Page:
    return Page(filter, min(max_results, MOST) or MOST, page_token, order_by)


Asked = Annotated[Page, Depends(_page)]
