"""An image that costs next to nothing to push and pull."""

import io
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager

SIZE = 300_000  # bytes; enough for a connection to be cut in the middle


@contextmanager
def small_image(label: str = "") -> Iterator[str]:
    """The tag of one with a layer that no registry has; `label`: as NAME=value."""
    packed, layer = io.BytesIO(), tarfile.TarInfo("layer")
    layer.size = SIZE
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(layer, io.BytesIO(secrets.token_bytes(SIZE)))
    tag = f"md-test-{secrets.token_hex(4)}:1"
    change = ["--change", f"LABEL {label}"] if label else []
    argv = ["docker", "import", *change, "-", tag]
    made = subprocess.run(argv, input=packed.getvalue(), check=True, capture_output=True)
    image = made.stdout.decode().strip()  # by its id: under whatever names it was pushed
    try:
        yield tag
    finally:
        subprocess.run(["docker", "image", "rm", "-f", image], capture_output=True, check=False)
