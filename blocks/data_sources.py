"""Each kind of source as a dlt resource that yields rows."""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

from blocks.row_selector import RowSelector
from releases import data_source as declared
from releases.data_source import RestApi, Source, SqlTable
from releases.problem import BadInput, Failed
from releases.store import Store

if TYPE_CHECKING:
    from dlt.extract import DltResource

ROWS = "rows"
BATCH = 5000
HTTP_SECONDS = 60.0


@dataclass(frozen=True)
class Window:
    """The days of a backfill, the end not included."""

    start: date
    end: date


@dataclass(frozen=True)
class Place:
    """What a service's own log is read from."""

    store: Store
    environment: str


def resource(
    source: Source, place: Place, window: Window | None = None, selector: RowSelector | None = None
) -> "DltResource":
    """The source's rows: the new ones, or those of a backfill's window. Raises BadInput."""
    if source.rest:
        found = _rest(source, source.rest, window, selector)
    elif source.sql:
        found = _sql(source, source.sql, window)
    elif source.file:
        from blocks.http_file import rows_of_file  # noqa: PLC0415 - imports dlt

        found = rows_of_file(source.file, _auth(source.file.auth))
    elif source.log:
        from blocks.log_rows import rows_of_log  # noqa: PLC0415 - imports dlt

        found = rows_of_log(source.log, place.store, place.environment)
    found.apply_hints(primary_key=source.key or None, columns=_hints(source))
    found.max_table_nesting = 0
    return found


def _rest(
    source: Source, rest: RestApi, window: Window | None, selector: RowSelector | None
) -> "DltResource":
    from dlt.sources.helpers.requests import Client  # noqa: PLC0415
    from dlt.sources.rest_api import rest_api_resources  # noqa: PLC0415

    address = urlsplit(rest.url)
    client = Client(
        request_timeout=HTTP_SECONDS,
        raise_for_status=False,  # dlt's REST client does it
        request_max_attempts=rest.attempts,
        request_max_retry_delay=rest.longest_wait,
    )
    endpoint: dict[str, Any] = {
        "path": address.path.lstrip("/"),
        "params": {**_query(address.query), **rest.parameters},
        "data_selector": rest.rows,
        "paginator": _paginator(rest),
        "response_actions": [selector] if selector else None,
    }
    cursor = _cursor_arguments(source, window)
    if cursor:
        sent = {"start_param": rest.since, "end_param": rest.until if window else ""}
        given = {name: parameter for name, parameter in sent.items() if parameter}
        endpoint["incremental"] = {**cursor, **given, "convert": _sent}
    config: Any = {
        "client": {
            "base_url": f"{address.scheme}://{address.netloc}/",
            "session": client.session,
            "headers": dict(rest.headers),
            "auth": _auth(rest.auth),
        },
        "resources": [{"name": ROWS, "endpoint": endpoint}],
    }
    (found,) = rest_api_resources(config)
    return found


def _query(text: str) -> dict[str, Any]:
    """What stands behind the address's question mark."""
    found = parse_qs(text, keep_blank_values=True)
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def _sql(source: Source, sql: SqlTable, window: Window | None) -> "DltResource":
    from dlt.common.configuration.exceptions import ConfigurationException  # noqa: PLC0415
    from dlt.sources import incremental  # noqa: PLC0415
    from dlt.sources.sql_database import sql_table  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    cursor = _cursor_arguments(source, window)
    address = _with_driver(sql.url or secret(sql.secret))
    try:
        found = sql_table(  # looks at the table at once
            credentials=address,
            table=sql.table,
            schema=sql.database_schema,
            incremental=incremental(**cursor) if cursor else None,
            chunk_size=BATCH,
            reflection_level="minimal",
        )
    except (ConfigurationException, ModuleNotFoundError, SQLAlchemyError) as error:
        # Not chained: a traceback would show the address.
        raise _no_table(source, sql, error) from None
    return found.with_name(ROWS)


def _with_driver(address: str) -> str:
    """Postgres' addresses name no driver; SQLAlchemy before 2.1 takes one for granted that is not here."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", address)


def _no_table(source: Source, sql: SqlTable, error: Exception) -> Failed:
    lines = [line.strip() for line in masked(f"{type(error).__name__}: {error}", source).splitlines()]
    return Failed(
        f"the table {sql.table} cannot be read",
        where=f"the secret {sql.secret}" if sql.secret else sql.url,
        expected="a SQLAlchemy address such as postgresql://USER:PASSWORD@HOST/DATABASE, of a database whose "
        "driver is installed here (Postgres and SQLite are), and a table in it",
        got=" ".join(line for line in lines if line and "Background on this error" not in line)[:400],
    )


def _cursor_arguments(source: Source, window: Window | None) -> dict[str, Any] | None:
    if source.cursor is None:
        return None
    column = source.cursor.column
    if window is None:
        return {"cursor_path": column, "initial_value": source.initial()}
    type_ = source.contract.columns[column].type
    start, end = (declared.as_position(day, type_) for day in (window.start, window.end))
    return {"cursor_path": column, "initial_value": start, "end_value": end}


def _sent(position: Any) -> Any:
    """A cursor's position as a query parameter."""
    return position.isoformat() if isinstance(position, date | datetime) else position


def _paginator(rest: RestApi) -> dict[str, Any]:
    pages = rest.pages
    if isinstance(pages, declared.PageNumber):
        more = {"page_param": pages.parameter, "base_page": pages.first}
        return {"type": pages.type, **more, "total_path": None, "stop_after_empty_page": True}
    if isinstance(pages, declared.Offset):
        more = {"limit": pages.limit, "offset_param": pages.parameter, "limit_param": pages.limit_parameter}
        return {"type": pages.type, **more, "total_path": None, "stop_after_empty_page": True}
    if isinstance(pages, declared.NextLink):
        return {"type": pages.type, "next_url_path": pages.path}
    if isinstance(pages, declared.NextCursor):
        return {"type": pages.type, "cursor_path": pages.path, "cursor_param": pages.parameter}
    return {"type": pages.type}


def _auth(auth: declared.Auth | None) -> Any:
    from dlt.sources.helpers.rest_client import auth as kinds  # noqa: PLC0415

    if isinstance(auth, declared.Bearer):
        return kinds.BearerTokenAuth(secret(auth.secret))
    if isinstance(auth, declared.ApiKey):
        return kinds.APIKeyAuth(auth.name, secret(auth.secret), auth.location)
    if isinstance(auth, declared.Basic):
        return kinds.HttpBasicAuth(auth.user, secret(auth.secret))
    return None


def secret(name: str) -> str:
    """What a Prefect Secret block holds. Raises BadInput where there is none."""
    from prefect.blocks.system import Secret  # noqa: PLC0415

    try:
        return str(Secret.load(name).get())  # type: ignore[union-attr]
    except ValueError as error:
        raise BadInput(
            f"there is no secret {name}",
            expected="a Secret block of that name in Prefect",
            next_step="Prefect UI → Blocks → Secret",
        ) from error


def masked(text: str, source: Source) -> str:
    """The text without the source's secrets: an address in an error may hold a key or a password."""
    auths = [part.auth for part in (source.rest, source.file) if part and part.auth]
    names = [*(auth.secret for auth in auths), source.sql.secret if source.sql else ""]
    for value in [secret(name) for name in names if name]:
        for shown in (value, quote(value, safe=""), quote_plus(value)):
            text = text.replace(shown, "***")
    return text


def _hints(source: Source) -> Any:
    types = {name: str(column.type) for name, column in source.contract.columns.items()}
    if source.log:
        types["time"] = "timestamp"
    return {name: {"data_type": type_} for name, type_ in types.items()} or None


def window_of(day: date) -> Window:
    """One day."""
    return Window(day, day + timedelta(days=1))
