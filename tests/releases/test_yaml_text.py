"""What a user meets where a file is no YAML: the line, and nothing that stands in it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deployments.environments_file import parse as parse_environments
from releases.container_declaration import parse as parse_declaration
from releases.problem import Problem
from releases.source_file import parse_sources
from releases.spec_file import parse_spec
from releases.yaml_text import YamlError, read_yaml

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\ninitial: 2026-02-30", "line 2, column 10: this is no timestamp that there can be"),
        (f"a: !!int {SECRET}", "line 1, column 4: this is no int that there can be"),
        (f"a: !!bool {SECRET}", "line 1, column 4: this is no bool that there can be"),
        (f"env:\n  PASSWORD: a: {SECRET}", "line 2, column 14: mapping values are not allowed here"),
        (
            f"env:\n  PASSWORD: '{SECRET}\n\n",
            "found unexpected end of stream, while scanning a quoted scalar that began in line 2",
        ),
        (f"PASSWORD: {SECRET}\x00", "special characters are not allowed"),
        ("[" * 5000, "it is nested too deeply"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_without_its_line(text: str, said: str) -> None:
    with pytest.raises(YamlError) as caught:
        read_yaml(text)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


def test_numbers_with_colons_are_times_and_other_numbers_are_numbers() -> None:
    assert read_yaml("[16:30, 1:30.5, 8:00, 22, 0x1f, 1.5, 2026-02-03]")[:6] == [
        "16:30", "1:30.5", "8:00", 22, 31, 1.5,
    ]  # fmt: skip


def environments(text: str) -> None:
    file = Path("environments.yaml")
    file.write_text(text)
    parse_environments(file)


@pytest.mark.parametrize("reads", [parse_spec, parse_sources, parse_declaration, environments])
@pytest.mark.parametrize("text", ["initial: 2026-02-30", f"password: {SECRET}: x"])
def test_every_file_of_a_person_is_read_so(
    reads: Callable[[str], object], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Problem) as caught:
        reads(text)
    assert "line 1, column" in caught.value.got
    assert SECRET not in str(caught.value)
