"""What is collected, from where, and what a row must look like: the sections of `sources.yaml`."""

import re
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Scalar = str | int | float | bool
Position = datetime | date | int | str

_PASSWORD = re.compile(r"://[^/@]*:[^/@]+@")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ColumnType(StrEnum):
    """dlt's names for the types that a contract may ask for."""

    text = "text"
    bigint = "bigint"
    double = "double"
    decimal = "decimal"
    bool = "bool"
    timestamp = "timestamp"
    date = "date"
    json = "json"


DATED = (ColumnType.timestamp, ColumnType.date)


class Column(_Section):
    """One column of the contract; `id: bigint` is short for `id: {type: bigint}`."""

    type: ColumnType
    required: bool = Field(True, description="Whether a row without it breaks the contract.")


def _column(given: Any) -> Any:
    return {"type": given} if isinstance(given, str) else given


class NewColumns(StrEnum):
    """What happens to a column that the contract does not name."""

    keep = "keep"
    drop = "drop"
    quarantine = "quarantine"


class Contract(_Section):
    """What a row must look like. A row that does not goes to the quarantine, with the reason."""

    columns: dict[str, Annotated[Column, BeforeValidator(_column)]] = Field(default_factory=dict)
    new_columns: NewColumns = NewColumns.keep
    at_most: float = Field(
        0.01, ge=0, le=1, description="Share of a run's rows in quarantine from which on the run fails."
    )


class Cursor(_Section):
    """The column that says what is new. What was collected up to it is not asked for again."""

    column: str
    initial: Position | None = Field(None, description="Where to begin; everything if not given.")


class Bearer(_Section):
    """`Authorization: Bearer …`."""

    type: Literal["bearer"]
    secret: str = Field(description="Name of a Prefect Secret block.")


class ApiKey(_Section):
    """A key in a header or a query parameter."""

    type: Literal["api_key"]
    secret: str = Field(description="Name of a Prefect Secret block.")
    name: str = Field("X-API-Key", description="The header's or parameter's name.")
    location: Literal["header", "query"] = "header"


class Basic(_Section):
    """User name and password."""

    type: Literal["http_basic"]
    user: str
    secret: str = Field(description="Name of a Prefect Secret block with the password.")


class SinglePage(_Section):
    """All rows come in one answer."""

    type: Literal["single_page"] = "single_page"


class PageNumber(_Section):
    """`?page=1`, `?page=2`, … until a page is empty."""

    type: Literal["page_number"]
    parameter: str = "page"
    first: int = 1


class Offset(_Section):
    """`?offset=0&limit=100`, … until a page is empty."""

    type: Literal["offset"]
    limit: int = Field(100, gt=0)
    parameter: str = "offset"
    limit_parameter: str = "limit"


class NextLink(_Section):
    """The answer's body holds the address of the next page."""

    type: Literal["json_link"]
    path: str = Field("next", description="JSONPath to it.")


class HeaderLink(_Section):
    """The header `Link: <…>; rel="next"` holds the address of the next page."""

    type: Literal["header_link"]


class NextCursor(_Section):
    """The answer's body holds a token, which the next request sends."""

    type: Literal["cursor"]
    path: str = Field("cursors.next", description="JSONPath to it.")
    parameter: str = "cursor"


Auth = Annotated[Bearer | ApiKey | Basic, Field(discriminator="type")]
Pages = Annotated[
    SinglePage | PageNumber | Offset | NextLink | HeaderLink | NextCursor, Field(discriminator="type")
]


class RestApi(_Section):
    """Rows of a REST API."""

    url: str = Field(pattern=r"^https?://")
    parameters: dict[str, Scalar] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    auth: Auth | None = None
    pages: Pages = SinglePage()
    rows: str = Field("$", description="JSONPath to the list of rows in an answer.")
    since: str = Field("", description="Query parameter that takes the cursor's position.")
    until: str = Field("", description="Query parameter that takes a backfill's end.")
    attempts: int = Field(5, ge=1, description="Tries of a request that meets 429, 5xx or no answer.")
    longest_wait: float = Field(300, gt=0, description="Seconds; the most that a Retry-After is waited for.")


class HttpFile(_Section):
    """A file over HTTP."""

    url: str = Field(pattern=r"^https?://")
    format: Literal["csv", "jsonl", "parquet"]
    auth: Auth | None = None


class SqlTable(_Section):
    """A table of a database that SQLAlchemy speaks to."""

    table: str
    database_schema: str | None = Field(None, alias="schema")
    url: str = Field("", description="SQLAlchemy address, without a password.")
    secret: str = Field("", description="Name of a Prefect Secret block with the address, password included.")

    @model_validator(mode="after")
    def _one_address(self) -> "SqlTable":
        if bool(self.url) == bool(self.secret):
            raise ValueError("give `url` or `secret`, not both")
        if _PASSWORD.search(self.url):
            raise ValueError("a password does not belong here: keep the address in a Secret block")
        return self


class ServiceLog(_Section):
    """A service's own log, as exported: every line that is a JSON object with this field."""

    service: str
    field: str = Field("inputs", description="Only lines that have it; the sample service logs `inputs`.")


class Checks(_Section):
    """What must be true after a run; the rows are kept, but the run fails."""

    rows: int = Field(0, ge=0, description="Least number of rows in a run.")
    fresh_hours: float | None = Field(None, gt=0, description="Most hours since the newest row.")


class Source(_Section):
    """One source: exactly one of `rest`, `file`, `sql`, `log`."""

    rest: RestApi | None = None
    file: HttpFile | None = None
    sql: SqlTable | None = None
    log: ServiceLog | None = None
    cursor: Cursor | None = None
    key: list[str] = Field(default_factory=list, description="Columns that tell rows apart.")
    contract: Contract = Contract()
    checks: Checks = Checks()

    @model_validator(mode="after")
    def _fits_together(self) -> "Source":
        if sum(kind is not None for kind in (self.rest, self.file, self.sql, self.log)) != 1:
            raise ValueError("give exactly one of `rest`, `file`, `sql`, `log`")
        if self.log and self.cursor:
            raise ValueError("a log needs no cursor: every exported line is taken once")
        if self.checks.fresh_hours and self.dated_by is None:
            raise ValueError("`checks.fresh_hours` needs a cursor that is a timestamp or a date")
        if self.cursor:
            column = self.contract.columns.get(self.cursor.column)
            if column is None or not column.required:
                raise ValueError(f"`contract.columns` must name the cursor's column {self.cursor.column}")
            self.initial()
        return self

    @property
    def dated_by(self) -> str | None:
        """The column whose date a row is filed under; None: the date of the run."""
        if self.log:
            return "time"
        column = self.contract.columns.get(self.cursor.column) if self.cursor else None
        return self.cursor.column if self.cursor and column and column.type in DATED else None

    @property
    def replaces(self) -> bool:
        """Whether a run takes everything there is: then it replaces what an earlier run of the day took."""
        return self.cursor is None and self.log is None

    def initial(self) -> Position | None:
        """The cursor's first position, in its column's type. Raises ValueError."""
        if self.cursor is None or self.cursor.initial is None:
            return None
        given, type_ = self.cursor.initial, self.contract.columns[self.cursor.column].type
        return as_position(given, type_)


def as_position(given: Position, type_: ColumnType) -> Position:
    """A cursor's position in its column's type; a timestamp without a zone is in UTC. Raises ValueError."""
    if type_ is ColumnType.timestamp and isinstance(given, date):
        moment = given if isinstance(given, datetime) else datetime(given.year, given.month, given.day)  # noqa: DTZ001
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    fits = {
        ColumnType.date: type(given) is date,
        ColumnType.bigint: isinstance(given, int),
        ColumnType.text: isinstance(given, str),
    }
    if not fits.get(type_, False):
        raise ValueError(f"a cursor of type {type_} cannot begin at {given!r}")
    return given


class Sources(_Section):
    """The whole file."""

    sources: dict[Name, Source]

    @field_validator("sources", mode="before")
    @classmethod
    def _none_yet(cls, given: Any) -> Any:
        return {} if given is None else given
