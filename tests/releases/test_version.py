"""Which version is the newest, and which comes next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from releases.version import Version, following, newest, notes, read_version


@pytest.mark.parametrize(
    ("now", "messages", "wanted"),
    [
        ("v1.2.3", ["fix: a typo"], "v1.2.4"),
        ("v1.2.3", ["change things"], "v1.2.4"),
        ("v1.2.3", [], "v1.2.4"),
        ("v1.2.3", ["fix: a", "feat(api): b"], "v1.3.0"),
        ("v1.2.3", ["Feat: b"], "v1.3.0"),
        ("v1.2.3", ["feat!: gone", "feat: b"], "v2.0.0"),
        ("v1.2.3", ["refactor(x)!: gone"], "v2.0.0"),
        ("v1.2.3", ["fix: a\n\nlong\n\nBREAKING CHANGE: b is gone"], "v2.0.0"),
        ("v0.2.3", ["feat!: gone"], "v0.3.0"),
        ("v1.2.3", ["features: no such type", "say that feat: is meant"], "v1.2.4"),
        ("v1", ["fix: a"], "v1.0.1"),
    ],
)
def test_the_next_version(now: str, messages: list[str], wanted: str) -> None:
    version = read_version(now)
    assert version is not None
    assert str(version.after(messages)) == wanted


@pytest.mark.parametrize("tag", ["v1.2.3-rc.1", "1.2.3", "v01.2.3", "version", "v", "v1.2.3.4", "v1.2.3\n"])
def test_what_is_no_version(tag: str) -> None:
    assert read_version(tag) is None


def test_the_newest_is_the_highest_and_not_the_last_in_the_alphabet() -> None:
    tags = ["v1.9.0", "v1.10.0", "v2.0.0-rc.1", "w3", "iris-v7"]
    assert newest(tags, "v*") == "v1.10.0"
    assert newest(tags, "v1.9*") == "v1.9.0"
    assert newest(tags, "iris-*") == "iris-v7"
    assert newest(tags, "z*") == newest([], "v*") == ""


def test_the_first_version_the_next_and_none_where_nothing_is_new() -> None:
    assert following("", []) == "v0.1.0"
    assert following("v1.2.3", ["feat: more"]) == "v1.3.0"
    assert following("v1.2.3", []) == ""


def test_notes_name_the_commits_by_their_first_line() -> None:
    assert notes({"a" * 40: "feat: more\n\nlong"}, "v1") == "## Since v1\n\n- aaaaaaaa feat: more"


@given(st.builds(Version, *[st.integers(0, 50)] * 3), st.lists(st.text(max_size=40)))
def test_the_next_version_is_higher_and_can_be_read(now: Version, messages: list[str]) -> None:
    higher = now.after(messages)
    assert higher > now
    assert read_version(str(higher)) == higher
