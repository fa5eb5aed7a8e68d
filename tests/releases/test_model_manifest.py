"""What a manifest may say: a node writes files where it says."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from releases.model_manifest import (
    Alias,
    Aliases,
    Manifest,
    ModelFile,
    digest_of,
    manifest_key,
    parse_manifest,
    what_is_wrong_with,
)
from releases.problem import BadInput, Failed


def file(path: str, sha256: str = "a" * 64) -> ModelFile:
    return ModelFile(path=path, size=1, crc32c="AAAAAA==", sha256=sha256)


def manifest(*paths: str) -> Manifest:
    files = tuple(file(path) for path in paths)
    return Manifest(name="iris", version="v1", files=files, created=datetime(2026, 1, 1, tzinfo=UTC))


@given(
    st.text(max_size=40) | st.lists(st.sampled_from(["..", ".", "", "a", "é", "/"]), max_size=5).map("/".join)
)
def test_a_path_that_is_taken_stays_in_the_folder(path: str) -> None:
    if what_is_wrong_with(path):
        with pytest.raises(ValidationError):
            file(path)
        return
    root = Path("/models/x")
    inside = Path(f"{root}/{path}")
    assert inside.is_relative_to(root)
    assert ".." not in inside.parts
    assert inside != root


@pytest.mark.parametrize(
    "path", ["../a", "a/../../b", "/etc/passwd", "a//b", ".", "", "a\\..\\b", "a\nb", "x" * 600]
)
def test_what_leads_out_or_is_not_portable_is_refused(path: str) -> None:
    assert what_is_wrong_with(path)


@given(
    st.lists(
        st.sampled_from(["manifest.json", "a", "a/b", "a@b", "c/manifest.json"]), min_size=1, unique=True
    )
)
def test_no_file_ever_lies_where_the_manifest_or_another_file_lies(paths: list[str]) -> None:
    made = manifest(*paths)
    keys = [made.key_of(each) for each in made.files]
    assert len({*keys, manifest_key("iris", "v1")}) == len(paths) + 1


def test_a_manifest_that_is_written_is_the_one_that_is_read() -> None:
    made = manifest("a", "b/c").model_copy(update={"metrics": {"accuracy": 0.93, "rows": 12, "by": "me"}})
    assert parse_manifest(made.to_bytes(), "here") == made
    assert digest_of(made.to_bytes()) == digest_of(parse_manifest(made.to_bytes(), "here").to_bytes())


def test_a_spoilt_manifest_says_where_it_lies() -> None:
    with pytest.raises(Failed) as caught:
        parse_manifest(manifest("a").to_bytes()[:-20], "models/iris/v1/manifest.json")
    assert caught.value.where == "models/iris/v1/manifest.json"


def test_an_alias_stands_for_a_version_and_an_unknown_one_names_those_that_are_known() -> None:
    known = Aliases(aliases={"production": Alias(version="v1.1", at=datetime(2026, 1, 1, tzinfo=UTC))})
    assert known.version_of("iris", "production") == "v1.1"
    assert known.version_of("iris", "v7") == "v7"
    with pytest.raises(BadInput) as caught:
        known.version_of("iris", "prodution")
    assert "production" in caught.value.expected
