"""The code in docs/logs.md reads the exported lines."""

import re
from pathlib import Path

import pytest

from blocks.store import DirectoryStore
from tests.flows.test_export_logs import logged
from tests.killed_work import export

PAGE = Path(__file__).parent.parent / "docs" / "logs.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=["duckdb", "pyarrow"])
def test_the_exported_lines_are_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], example: str
) -> None:
    store = DirectoryStore(path=tmp_path / "store")
    logged(tmp_path, 0, 5000)
    export(store)
    logged(tmp_path, 5000, 5100)  # a segment that waits is not in the table yet
    exec(example, {"store": store.path})
    assert "5000" in capsys.readouterr().out
