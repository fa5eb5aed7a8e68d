"""Every kind of source gives its rows, each once."""

import io
import json
import sqlite3
import traceback
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import psycopg
import pyarrow as pa
import pytest
from pyarrow import parquet

from bench.json_file import JsonFile, line
from blocks import data_sources
from blocks.log_export import ContainerExport, waiting
from blocks.store import DirectoryStore
from releases.problem import BadInput, Failed
from releases.source_file import named, parse_sources
from tests.agent.logs import container, follower, settle
from tests.blocks.test_collection import SOURCES, ids, quarantine, rows
from tests.killed_work import HOUR, LATER, collect
from tests.postgres import postgres
from tests.shop.server import Shop, shop

FILE = 'sources: {prices: {file: {url: "%s/prices", format: %s}, contract: {columns: {id: bigint}}}}'
GOOD = SOURCES % "http://localhost"


@pytest.fixture
def api() -> Iterator[Shop]:
    with shop() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(path=tmp_path / "store")


def test_numbered_pages_and_a_token(
    store: DirectoryStore, api: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.sell(0, 250)
    api.token = "t0ken"
    monkeypatch.setattr(data_sources, "secret", {"shop": "t0ken"}.__getitem__)
    paged = "{type: page_number}, auth: {type: bearer, secret: shop}"
    yaml = SOURCES.replace("{type: json_link}", paged) % api.address
    collect(store, yaml)
    assert ids(store) == [*range(250)]
    assert sum("page=" in path for path in api.requests) >= 3


@pytest.mark.parametrize(
    ("pages", "more", "requests"),
    [
        ("offset", ", limit: 80", 5),  # until a page is empty
        ("header_link", "", 3),
        ("cursor", "", 3),
        ("single_page", "", 1),
    ],
)
def test_every_other_kind_of_pages(
    store: DirectoryStore, api: Shop, pages: str, more: str, requests: int
) -> None:
    api.sell(0, 250)
    api.pages = pages
    collect(store, SOURCES.replace("{type: json_link}", f"{{type: {pages}{more}}}") % api.address)
    assert ids(store) == [*range(250)]
    assert len(api.requests) == requests


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ("{type: http_basic, user: me, secret: shop}", ("Authorization", "Basic bWU6dDBrZW4=")),
        ("{type: api_key, secret: shop, name: X-Shop-Key}", ("X-Shop-Key", "t0ken")),
    ],
)
def test_a_password_and_a_key_in_a_header(
    store: DirectoryStore, api: Shop, monkeypatch: pytest.MonkeyPatch, auth: str, header: tuple[str, str]
) -> None:
    api.sell(0, 3)
    api.login = header
    monkeypatch.setattr(data_sources, "secret", {"shop": "t0ken"}.__getitem__)
    collect(store, SOURCES.replace("rows: data", f"rows: data, auth: {auth}") % api.address)
    assert ids(store) == [0, 1, 2]


@pytest.mark.parametrize(("what", "taken"), [("drop", [0, 1, 2]), ("quarantine", [0, 2])])
def test_a_column_that_the_contract_does_not_name(
    store: DirectoryStore, api: Shop, what: str, taken: list[int]
) -> None:
    api.sell(0, 3)
    for order in api.orders:
        del order["items"]
    api.orders[1]["gift"] = True
    collect(store, SOURCES.replace("at_most: 0.5", f"at_most: 0.5, new_columns: {what}") % api.address)
    assert ids(store) == taken
    assert all("gift" not in row for row in rows(store))
    assert [one["row"]["id"] for one in quarantine(store)] == [n for n in (0, 1, 2) if n not in taken]


def test_a_query_in_the_address_is_sent_with_the_parameters(store: DirectoryStore, api: Shop) -> None:
    api.sell(0, 3)
    yaml = SOURCES.replace("rows: data", "rows: data, parameters: {shop: 7}")
    collect(store, yaml.replace("%s/orders", "%s/orders?state=open&tag=a&tag=b&empty=") % api.address)
    (sent,) = api.requests
    assert parse_qsl(urlsplit(sent).query, keep_blank_values=True)[:5] == [
        ("state", "open"),
        ("tag", "a"),
        ("tag", "b"),
        ("empty", ""),
        ("shop", "7"),
    ]
    assert ids(store) == [0, 1, 2]


def test_a_cursor_in_camel_case(store: DirectoryStore, api: Shop) -> None:
    yaml = SOURCES.replace("column: at", "column: updatedAt").replace("at: timestamp", "updatedAt: timestamp")
    for first in (0, 200):
        api.sell(first, first + 200)
        for order in api.orders[first:]:
            order["updatedAt"] = order["at"]
        collect(store, yaml % api.address)
    assert ids(store) == [*range(400)]
    assert {str(row["date"]) for row in rows(store)} == {"2026-11-01", "2026-11-02", "2026-11-03"}


def test_a_mistyped_path_to_the_rows_is_said(store: DirectoryStore, api: Shop) -> None:
    api.sell(0, 3)
    with pytest.raises(Failed, match="no answer of orders has anything at `rest") as raised:
        collect(store, SOURCES.replace("rows: data", "rows: dta") % api.address)
    assert raised.value.got == "an answer with data, next"
    api.orders.clear()
    collect(store, SOURCES % api.address)  # an empty list is something
    assert rows(store) == []


def test_a_key_is_in_no_error(
    store: DirectoryStore, api: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    api.token = "other"
    monkeypatch.setattr(data_sources, "secret", {"shop": "s3cr3t/k+y"}.__getitem__)
    auth = "{type: api_key, secret: shop, name: key, location: query}"
    yaml = FILE.replace("format: %s", f"format: %s, auth: {auth}") % (api.address, "csv")
    with pytest.raises(Failed) as raised:
        collect(store, yaml)
    shown = "".join(traceback.format_exception(raised.value)) + caplog.text
    assert "401" in shown
    assert "key=***" in shown
    assert "s3cr3t" not in shown


def test_an_api_that_cannot_filter_gives_only_what_is_new(store: DirectoryStore, api: Shop) -> None:
    yaml = SOURCES.replace(", since: since, until: until", "") % api.address
    for sold in (0, 120):
        api.sell(sold, sold + 120)
        collect(store, yaml)
    assert ids(store) == [*range(240)]


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_a_file_is_a_snapshot_that_replaces_the_days_earlier_one(
    store: DirectoryStore, api: Shop, format_: str
) -> None:
    for last in (3, 5):
        found = [{"id": number, "name": f"n{number}"} for number in range(last)]
        api.files["/prices"] = as_file(format_, found)
        collect(store, FILE % (api.address, format_))
    assert [(row["id"], row["name"]) for row in rows(store, "prices")] == [(n, f"n{n}") for n in range(5)]
    api.files["/prices"] = as_file(format_, [])
    collect(store, FILE % (api.address, format_))
    assert len(rows(store, "prices")) == 5, "an empty answer takes nothing away"


def test_a_line_with_a_field_too_many_goes_to_the_quarantine(store: DirectoryStore, api: Shop) -> None:
    api.files["/prices"] = b"id,name\n1,one\n2,two, or so\n3,three"
    collect(store, FILE.replace("bigint}", "bigint}, at_most: 0.5") % (api.address, "csv"))
    assert [row["id"] for row in rows(store, "prices")] == [1, 3]
    assert [one["row"] for one in quarantine(store)] == [{"id": "2", "name": "two", "null": [" or so"]}]


def as_file(format_: str, found: list[dict[str, object]]) -> bytes:
    if format_ == "csv":
        return "\n".join(["id,name", *(f"{row['id']},{row['name']}" for row in found)]).encode()
    if format_ == "jsonl":
        return "\n".join(json.dumps(row) for row in found).encode()
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(found), file)
    return file.getvalue()


def test_a_file_that_is_not_there_is_said(store: DirectoryStore, api: Shop) -> None:
    api.token = "x"
    with pytest.raises(Failed, match="prices cannot be collected"):
        collect(store, FILE % (api.address, "csv"))


def test_a_table_gives_what_is_new(store: DirectoryStore, tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "shop.db")
    database.execute("create table orders (id integer, at timestamp, total real)")
    yaml = f"""
    sources:
      orders:
        sql: {{url: "sqlite:///{tmp_path}/shop.db", table: orders}}
        cursor: {{column: at}}
        contract: {{columns: {{id: bigint, at: timestamp, total: double}}}}
    """
    for first in (0, 30):
        moments = [
            (n, f"2026-11-{1 + n // 20:02d} 10:00:{n % 20:02d}.000000", 1.5) for n in range(first, first + 30)
        ]
        database.executemany("insert into orders values (?, ?, ?)", moments)
        database.commit()
        collect(store, yaml)
    database.close()
    assert ids(store) == [*range(60)]
    assert {str(row["date"]) for row in rows(store)} == {"2026-11-01", "2026-11-02", "2026-11-03"}


def test_a_table_of_postgres_gives_what_is_new_with_its_own_types(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yaml = """
    sources:
      orders:
        sql: {secret: shop, table: orders, schema: sales}
        cursor: {column: at}
        contract: {columns: {id: bigint, at: timestamp, total: decimal}}
    """
    with postgres(tmp_path / "pg") as address:
        monkeypatch.setattr(data_sources, "secret", {"shop": address}.__getitem__)
        with psycopg.connect(address, autocommit=True) as database:
            database.execute("create schema sales")
            database.execute("create table sales.orders (id bigint, at timestamptz, total numeric(10, 2))")
            for first in (0, 30):
                database.execute(
                    "insert into sales.orders select n, timestamptz '2026-11-01 23:30+01' + n * interval '1 hour', "
                    "n + 0.25 from generate_series(%s::int, %s) n",
                    (first, first + 29),
                )
                collect(store, yaml)
    found = rows(store)
    assert sorted(row["id"] for row in found) == [*range(60)]
    assert {row["id"]: row["total"] for row in found}[59] == Decimal("59.25")
    assert {row["id"]: str(row["date"]) for row in found}[1] == "2026-11-01", "the date is UTC's"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("postgresql://shop:s3cr3t@127.0.0.1:1/shop", "Connection refused"),
        ("sqlite:///{tmp}/shop.db", "NoSuchTableError"),
        ("mysql://shop:s3cr3t@127.0.0.1/shop", "No module named"),
        ("oops://shop:s3cr3t@127.0.0.1/shop", "oops"),
        ("s3cr3t", "ConnectionStringCredentials"),
    ],
)
def test_a_database_that_cannot_be_read_is_named_without_its_password(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, says: str
) -> None:
    monkeypatch.setattr(data_sources, "secret", {"shop": address.format(tmp=tmp_path)}.__getitem__)
    with pytest.raises(Failed, match="the table orders cannot be read") as raised:
        collect(store, "sources: {orders: {sql: {table: orders, secret: shop}}}")
    assert says in raised.value.got
    assert raised.value.where == "the secret shop"
    assert "s3cr3t" not in "".join(traceback.format_exception(raised.value))


def test_a_services_own_log_gives_its_predictions(store: DirectoryStore, tmp_path: Path) -> None:
    yaml = "sources: {seen: {log: {service: iris}}}"
    for batch in range(2):
        file = JsonFile(tmp_path / "containers", container("a"), 1 << 20, 5)
        for number in range(10):
            said = {"inputs": {"x": batch * 10 + number}, "label": "virginica"}
            file.write(line(json.dumps(said) + "\n", at=HOUR))
            file.write(line("plain words\n", at=HOUR))
        file.file.close()
        settle(follower(tmp_path, "a"), "a")
        for (service, one), places in waiting(store, "local").items():
            ContainerExport(store, service, "local", one).run(places, LATER)
        collect(store, yaml)
        collect(store, yaml)
    found = rows(store, "seen")
    assert sorted(row["inputs__x"] for row in found) == [*range(20)]
    assert {(row["label"], row["release"], row["model_version"]) for row in found} == {
        ("virginica", 3, "v1.1")
    }
    assert all(f"{row['time']:%Y-%m-%d}" == str(row["date"]) for row in found)


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("sources: {a: {rest: {url: 'http://x', paegs: {}}}}", "did you mean `pages`?"),
        ("sources: {a: {}}", "exactly one of"),
        ("sources: {a: {rest: {url: 'http://x'}, cursor: {column: at}}}", "must name the cursor's column at"),
        ("sources: {a: {sql: {table: t, url: 'postgresql://a:b@c/d'}}}", "a password does not belong here"),
        ("sources: [", "not YAML"),
        (GOOD.replace("2026-11-01", "soon"), "cannot begin at 'soon'"),
    ],
)
def test_a_mistake_in_the_file_is_named(yaml: str, said: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse_sources(yaml)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "rest",
    ["url: 'ftp://me:hunter2@x'", "url: 'http://x', headers: [hunter2]", "url: 'http://x', auth: hunter2"],
)
def test_a_mistake_beside_a_credential_does_not_show_it(rest: str) -> None:
    with pytest.raises(BadInput, match="is not right") as raised:
        parse_sources(f"sources: {{a: {{rest: {{{rest}}}}}}}")
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


def test_a_wrong_name_gets_the_near_one() -> None:
    with pytest.raises(BadInput, match="there is no source ordres"):
        named(parse_sources(GOOD), "ordres")
