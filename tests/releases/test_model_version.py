"""Versions sort as people mean them, and mean what they are written as."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from releases.model_version import ModelVersion, is_alias, is_version
from releases.problem import BadInput
from releases.spec import Model

VERSIONS = st.lists(st.integers(0, 10**6), min_size=1, max_size=5).map(
    lambda numbers: ModelVersion(tuple(numbers))
)


@given(VERSIONS)
def test_what_is_printed_is_what_is_read(version: ModelVersion) -> None:
    assert ModelVersion.parse(str(version)) == version


@given(st.text(alphabet="v0123456789.", max_size=8))
def test_what_is_read_is_what_is_printed(text: str) -> None:
    if is_version(text):
        assert str(ModelVersion.parse(text)) == text
    else:
        with pytest.raises(BadInput):
            ModelVersion.parse(text)


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_total(a: ModelVersion, b: ModelVersion, c: ModelVersion) -> None:
    assert (a < b) + (b < a) + (a == b) == 1
    assert (a <= b) == (not b < a)
    if a <= b <= c:
        assert a <= c
    assert (str(a) == str(b)) == (a == b)


def test_the_order_is_by_number() -> None:
    written = ["v1", "v1.0", "v1.2", "v1.10", "v2", "v10"]
    assert [str(one) for one in sorted(ModelVersion.parse(text) for text in reversed(written))] == written


@pytest.mark.parametrize(
    "text", ["", "1", "v", "v1.", "v01", "v1.01", "V1", "v1 ", "v1\n", "v-1", "v1..2", "v1x"]
)
def test_what_is_no_version_is_no_alias_that_looks_like_one(text: str) -> None:
    assert not is_version(text)
    assert not text.startswith("v1") or not is_alias(text)


@given(st.text(alphabet="v01.-ax_A\n", max_size=12))
def test_nothing_is_both_a_version_and_an_alias(text: str) -> None:
    assert not (is_version(text) and is_alias(text))


@pytest.mark.parametrize("text", ["iris=v1.1", "iris=production", "iris=candidate-2"])
def test_a_model_is_named_as_it_is_typed(text: str) -> None:
    model = Model.parse(text)
    assert f"{model.name}={model.version}" == text


@pytest.mark.parametrize(
    "text", ["", "iris", "iris=", "=v1", "iris=v1x", "../x=v1", "Iris=v1", "iris=v1/../v2"]
)
def test_what_names_no_model_says_how_to_name_one(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        Model.parse(text)
    assert "iris=v1.1" in caught.value.expected
