"""What is written is on the disk, before that which it was made from may be deleted."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """A file's content, or a folder's names, on the disk when it returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
