"""The laptop's desired state: a file, changed under a lock by atomic rename."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from releases.desired import Desired, ServiceDesired
from releases.problem import Failed


def read(folder: Path) -> Desired:
    """Read what is desired; nothing yet is an empty document. Raises Failed."""
    path = folder / "desired.json"
    try:
        return Desired.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Desired()
    except ValidationError as error:
        raise Failed(
            "the desired state cannot be read", where=str(path), got=str(error).splitlines()[0]
        ) from error


def _any(_: Desired) -> None:
    """Most changes are nobody else's business."""


def change(
    folder: Path,
    service: str,
    make: Callable[[ServiceDesired], ServiceDesired],
    check: Callable[[Desired], None] = _any,
) -> ServiceDesired:
    """Change one service's part, leave the others' alone; what `check` or `make` raises changes nothing."""
    with locked(folder):
        desired = read(folder)
        check(desired)
        wanted = make(desired.of(service))
        _write(folder, desired.with_service(service, wanted))
    return wanted


def answer_challenges(folder: Path, thumbprint: str) -> None:
    """Name the ACME account that the edge answers for."""
    with locked(folder):
        desired = read(folder)
        if desired.acme != thumbprint:
            _write(folder, desired.model_copy(update={"acme": thumbprint}))


def _write(folder: Path, desired: Desired) -> None:
    fresh = folder / "desired.json.new"
    with fresh.open("wb") as file:
        file.write(desired.model_dump_json().encode())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / "desired.json")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only one on this machine that changes what is in the folder, or the node that it describes."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "desired.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
