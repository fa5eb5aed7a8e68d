"""Every row of FAULTS.md has a test that is marked with it: `pytest --co -m fault` lists them."""

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
ROWS = range(1, 36)


def test_every_row_has_a_test() -> None:
    marks = [
        mark
        for file in TESTS.rglob("test_*.py")
        for mark in re.findall(r"mark\.fault\((.*?)\)", file.read_text())
    ]
    shown = {int(row) for mark in marks for row in re.findall(r"\d+", mark)}
    assert shown == set(ROWS)
