"""The requests that a spec describes: what would only be noticed in the middle of a deploy.

Looked at where a person's file is read, and nowhere else: the record of releases and what nodes are told
may be older than these rules.
"""

from collections.abc import Iterator
from typing import Any

from releases.spec import ServiceSpec

Wrong = tuple[str, str, object]  # place in the file, what is expected there, what is there


def wrong_requests(spec: ServiceSpec) -> Iterator[Wrong]:
    """Every path, method and JSON schema that cannot be."""
    if spec.run.health.path is not None:
        yield from _path("run.health", spec.run.health.path)
    if spec.run.warmup is not None:
        yield from _path("run.warmup", spec.run.warmup.path)
        yield from _method("run.warmup", spec.run.warmup.method)
    for number, check in enumerate(spec.smoke):
        yield from _path(f"smoke.{number}", check.path)
        yield from _method(f"smoke.{number}", check.method)
        if check.expect.json_schema is not None:
            yield from _json_schema(f"smoke.{number}.expect.json_schema", check.expect.json_schema)


def _path(place: str, path: str) -> Iterator[Wrong]:
    if not path.startswith("/"):
        yield f"{place}.path", f"a path that begins with /, such as /{path}", path


def _method(place: str, method: str) -> Iterator[Wrong]:
    """As HTTP has them: a server knows no `post`."""
    if not (method.isalpha() and method.isupper()):
        yield f"{place}.method", f"an HTTP method in capitals, such as {method.upper() or 'GET'}", method


def _json_schema(place: str, schema: dict[str, Any]) -> Iterator[Wrong]:
    import jsonschema  # noqa: PLC0415 - it takes longer than reading the file, and an agent has none

    problem = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(jsonschema.Draft202012Validator.META_SCHEMA).iter_errors(schema)
    )
    if problem is not None:
        inside = "".join(f".{part}" for part in problem.absolute_path)
        yield f"{place}{inside}", "JSON schema, draft 2020-12", problem.instance
