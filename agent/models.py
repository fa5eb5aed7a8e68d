"""Models on the node: fetched into a folder named by their checksum, verified before every start."""

import errno
import hashlib
import os
import re
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agent.failure import Interrupted, StepFailed
from agent.kept import Kept
from agent.memory import write
from agent.model_files import ModelFiles
from releases.model_manifest import Manifest, ModelFile, digest_of, manifest_key, parse_manifest
from releases.problem import Problem
from releases.release import ReleasedModel
from releases.status import Phase
from releases.store import Moved

STALLED_SECONDS = 900.0  # without progress; a large model may take as long as it needs
AT_ONCE = 4  # files
BLOCK = 1 << 20
OURS = re.compile(r"([0-9a-f]{64})(\..+)?")  # what else lies there is somebody else's


class Models:
    """The cache. A model's manifest lies beside its folder: with it a model is verified without the store."""

    def __init__(
        self,
        folder: Path,
        files: ModelFiles,
        kept: Kept,
        make_room: Callable[[], int],
    ) -> None:
        self.folder = folder
        self.files = files
        self.kept = kept
        self.make_room = make_room
        self.locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self.verified: dict[str, str] = {}  # service → the model it may start with, once

    def is_verified(self, service: str, sha256: str) -> bool:
        """Whether every file was found right since the service's last start."""
        return self.verified.get(service) == sha256

    def take(self, service: str) -> None:
        """The service starts: before its next start the model is looked at again."""
        self.verified.pop(service, None)

    def fetch(self, service: str, model: ReleasedModel, interrupted: Callable[[], bool]) -> None:
        """Have every file here, and right. Raises StepFailed, Interrupted."""
        if not self.folder.is_dir():
            raise StepFailed(
                Phase.fetch, "this node has no folder for models", next_step=f"mount one at {self.folder}"
            )
        started = last = time.monotonic()

        def moved(_: int) -> None:
            nonlocal last
            if interrupted():
                raise Interrupted
            now = time.monotonic()
            if now - last > STALLED_SECONDS:
                raise _Slow
            last = now

        try:
            with self.locks[model.sha256]:
                self._fetch(model, moved)
        except _Slow:
            elapsed = time.monotonic() - started
            raise StepFailed(
                Phase.fetch, f"{model}: no more of it came", elapsed=elapsed, limit=STALLED_SECONDS
            ) from None
        except Problem as problem:
            raise self._failed(model, problem.what, problem.got) from problem
        except OSError as error:
            raise self._failed(model, f"{model} could not be fetched: {error.strerror or error}") from error
        self.verified[service] = model.sha256
        self.kept.used(service, model.sha256)

    def prune(self, service: str) -> None:
        """Remove all but the service's newest, and what nobody remembers."""
        self.kept.prune(service)
        if not self.folder.is_dir():
            return
        known = {thing for things in self.kept.disk.kept(self.kept.name).values() for thing in things}
        here = {found[1] for path in self.folder.iterdir() if (found := OURS.fullmatch(path.name))}
        unknown = here - known
        if unknown:
            for sha256 in unknown - self.kept.needed():
                remove(self.folder, sha256)

    def _fetch(self, model: ReleasedModel, moved: Moved) -> None:
        manifest = self._manifest(model)
        folder = self.folder / model.sha256
        missing = [file for file in manifest.files if not _is_right(folder / file.path, file, moved)]
        needed = sum(file.size for file in missing)
        if self._free() < needed:
            self.make_room()
        if self._free() < needed:
            reason = f"there is no room for {model}: {needed} bytes are missing, {self._free()} are free"
            raise StepFailed(Phase.fetch, reason, next_step="free space on the node, then release again")
        _make(folder, self.folder)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            downloads = [pool.submit(self._download, manifest, file, folder, moved) for file in missing]
            try:
                for download in downloads:
                    download.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _manifest(self, model: ReleasedModel) -> Manifest:
        """The manifest that was released, from here or from the store. Raises StepFailed, Problem."""
        here, key = manifest_file(self.folder, model.sha256), manifest_key(model.name, model.version)
        data = here.read_bytes() if here.exists() else b""
        if digest_of(data) != model.sha256:
            data = self.files.read(key)
            if digest_of(data) != model.sha256:
                raise self._failed(
                    model, f"the manifest of {model} is not the one that was released", digest_of(data)
                )
            write(here, data)
            _give(here, self.folder)
        return parse_manifest(data, key)

    def _download(self, manifest: Manifest, file: ModelFile, folder: Path, moved: Moved) -> None:
        path = folder / file.path
        _make(path.parent, self.folder)
        fresh = path.with_name(f".{path.name}.part")
        try:
            self.files.download(manifest.key_of(file), fresh, moved)
        except OSError as error:
            if error.errno != errno.ENOSPC or not self.make_room():
                raise
            self.files.download(manifest.key_of(file), fresh, moved)
        if not _is_right(fresh, file, moved):
            size = fresh.stat().st_size
            fresh.unlink()
            raise Problem(
                f"{file.path} of {manifest.name} {manifest.version} is not what was published",
                got=f"{size} bytes of {file.size}" if size != file.size else "another SHA-256",
            )
        _give(fresh, self.folder)
        fresh.replace(path)

    def _failed(self, model: ReleasedModel, reason: str, got: str = "") -> StepFailed:
        return StepFailed(
            Phase.fetch,
            reason,
            last_answer=got,
            next_step=f"model-deploy model show {model.name} {model.version}",
        )

    def _free(self) -> int:
        return shutil.disk_usage(self.folder).free


def remove(folder: Path, sha256: str) -> bool:
    """Remove a model from the cache; whether it is gone."""
    shutil.rmtree(folder / sha256, ignore_errors=True)
    manifest_file(folder, sha256).unlink(missing_ok=True)
    return not (folder / sha256).exists()


def manifest_file(folder: Path, sha256: str) -> Path:
    """Where the cache keeps a model's manifest: beside the model's folder, which is as it was published."""
    return folder / f"{sha256}.manifest"


class _Slow(Exception):  # noqa: N818 - not an error by itself
    """The fetch has taken too long."""


def _is_right(path: Path, file: ModelFile, moved: Moved) -> bool:
    """Whether this is the file that was published, by its size and every byte."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while block := opened.read(BLOCK):
            digest.update(block)
            moved(0)
    return digest.hexdigest() == file.sha256


def _make(folder: Path, root: Path) -> None:
    """Readable for the service's user, and the owner of the cache can tidy up, though the agent is root."""
    if folder != root and not folder.exists():
        _make(folder.parent, root)
        folder.mkdir(mode=0o755, exist_ok=True)
        _give(folder, root)


def _give(path: Path, root: Path) -> None:
    owner = root.stat()
    os.chown(path, owner.st_uid, owner.st_gid)
    path.chmod(0o755 if path.is_dir() else 0o644)
