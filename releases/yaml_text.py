"""Reading YAML that a person has written: every mistake with its line, and nothing of the file shown."""

from typing import Any

import yaml

_TEXT = "tag:yaml.org,2002:str"
_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}


class YamlError(ValueError):
    """What is wrong, and where. The file may hold passwords: none of its lines is in it."""


def read_yaml(text: str) -> Any:
    """What the text says. Raises YamlError."""
    try:
        return _Reader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        raise YamlError(_plainly(error)) from None
    except yaml.YAMLError as error:
        raise YamlError(str(error)) from None
    except RecursionError:
        raise YamlError("it is nested too deeply") from None


def _plainly(error: yaml.MarkedYAMLError) -> str:
    """As PyYAML says it, without the lines of the file."""
    mark, began = error.problem_mark, error.context_mark
    at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    since = f", {error.context} that began in line {began.line + 1}" if error.context and began else ""
    return f"{at}{error.problem}{since}"


class _Reader(yaml.SafeLoader):
    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """16:30 is a time of day, not 16 * 60 + 30 as in YAML 1.1."""
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return _TEXT if kind is yaml.ScalarNode and tag in _NUMBERS and ":" in value else tag

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """At a value such as 2026-02-30 PyYAML lets through what Python raises."""
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            said = f"this is no {node.tag.rpartition(':')[2]} that there can be"
            raise yaml.MarkedYAMLError(problem=said, problem_mark=node.start_mark) from error
