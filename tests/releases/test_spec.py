"""What a user meets when model-deploy.yaml is right, wrong or missing."""

from pathlib import Path

import pytest

from releases.problem import BadInput
from releases.spec import ServiceSpec
from releases.spec_file import parse_spec, read_spec


def test_a_folder_without_a_spec_gets_the_defaults(tmp_path: Path) -> None:
    assert read_spec(tmp_path) == ServiceSpec()


@pytest.mark.parametrize(
    ("text", "what", "expected"),
    [
        ("runn: {}", "unknown key `runn`", "did you mean `run`?"),
        ("run: {health: {pth: /}}", "unknown key `run.health.pth`", "did you mean `path`?"),
        ("smoke: [{pathh: /}]", "unknown key `smoke.0.pathh`", "did you mean `path`?"),
        ("run: {port: many}", "`run.port` is not right", "valid integer"),
        ("", "the spec is empty", "at least one field"),
        ("- a", "the spec is not a mapping", "key: value"),
        ("a: [", "the spec is not YAML", ""),
        ("smoke: [{path: /a}, {path: /a}]", "`smoke` is not right", "two smoke checks are called 'GET /a'"),
    ],
)
def test_a_wrong_spec_says_what_is_wrong_and_what_is_near(text: str, what: str, expected: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_spec(text, where="here/model-deploy.yaml")
    assert caught.value.what == what
    assert expected in caught.value.expected
    assert "here/model-deploy.yaml" in str(caught.value)
