"""Model versions in a store: published once and whole, listed, fetched, and named by aliases."""

import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import ValidationError

from blocks.checksums import checksums_of
from blocks.model_folder import Source
from releases.model_manifest import (
    LONG,
    MANIFEST,
    MODELS,
    SHORT,
    Alias,
    Aliases,
    Manifest,
    Metric,
    ModelFile,
    aliases_key,
    digest_of,
    manifest_key,
    parse_manifest,
    version_prefix,
)
from releases.model_version import ModelVersion, is_alias, is_version
from releases.problem import BadInput, Failed, Refused
from releases.release import ReleasedModel
from releases.spec import Model
from releases.store import AlreadyExists, Changed, Moved, NotFound, Store, Stored, no_room_said

AT_ONCE = 8  # files; the store, not the processor, is what a transfer waits for
ATTEMPTS = 20
Seen = tuple[int, int]  # a file's size and when it was written
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Published:
    """A version that is there."""

    manifest: Manifest
    sha256: str

    @property
    def version(self) -> ModelVersion:
        """For sorting."""
        return ModelVersion.parse(self.manifest.version)


class Progress(Protocol):
    """Who is told how far a transfer is."""

    def begin(self, doing: str, total: int) -> None:
        """So many bytes are to come."""

    def moved(self, size: int) -> None:
        """So many more have gone over."""


@dataclass(frozen=True)
class ModelStore:
    """The models of an environment."""

    store: Store

    def publish(
        self,
        wanted: Model,
        sources: list[Source],
        progress: Progress,
        *,
        metrics: Mapping[str, Metric] | None = None,
        note: str = "",
        by: str = "",
    ) -> Published:
        """Have this version with these files. Killed anywhere and run again, it finishes.

        Raises BadInput, Refused that names the other content's checksum, Failed.
        """
        if not is_version(wanted.version):
            raise BadInput("a version is published, not an alias", expected="v1, v1.1, …", got=wanted.version)
        standing = self._find(wanted.name, wanted.version)
        total = sum(source.size for source in sources)
        progress.begin("comparing" if standing else "publishing", total if standing else 2 * total)

        def put(source: Source, moved: Moved) -> ModelFile:
            seen = _seen(source)
            file = _described(source, moved)
            return self._upload(wanted, file, source, seen, moved) if standing is None else file

        manifest = Manifest(
            name=wanted.name,
            version=wanted.version,
            files=tuple(_all_at_once(put, sources, progress.moved)),
            metrics=metrics or {},
            note=note,
            created=datetime.now(UTC),
            created_by=by,
        )
        return self._settled(manifest, standing or self._create(manifest))

    def get(self, name: str, text: str) -> Published:
        """A version, by itself or an alias. Raises BadInput that names what there is, Failed."""
        version = self.aliases(name).version_of(name, text)
        found = self._find(name, version)
        if found is None:
            there = [one.manifest.version for one in self.versions(name)]
            raise BadInput(
                f"there is no {name} {version}",
                where="the environment's store",
                expected=f"one of {', '.join(there)}" if there else f"a published version of {name}",
                got="none is published" if not there else version,
                next_step=f"model-deploy model publish {name} {version} PATH",
            )
        return found

    def released(self, wanted: Model) -> ReleasedModel:
        """What a release records of the model. Raises BadInput, Failed."""
        found = self.get(wanted.name, wanted.version)
        return ReleasedModel(name=wanted.name, version=found.manifest.version, sha256=found.sha256)

    def check(self, model: ReleasedModel | None) -> None:
        """A released model must be there as it was. Raises BadInput, Failed."""
        if model is None or not model.sha256:
            return
        found = self.get(model.name, model.version)
        if found.sha256 != model.sha256:
            raise Failed(
                f"{model} is not what was released",
                where="its manifest",
                expected=model.sha256,
                got=found.sha256,
            )

    def versions(self, name: str = "") -> list[Published]:
        """Every version of a model, or of all, oldest version first."""
        prefix = f"{MODELS}{name}/" if name else MODELS
        found = []
        for key in self.store.list(prefix):
            parts = key.removeprefix(MODELS).split("/")
            if len(parts) == 3 and parts[2] == MANIFEST and is_version(parts[1]):  # noqa: PLR2004 - NAME/VERSION/manifest
                published = self._find(parts[0], parts[1])
                found += [published] if published else []
        return sorted(found, key=lambda one: (one.manifest.name, one.version))

    def download(self, published: Published, folder: Path, progress: Progress) -> None:
        """Every file, verified, into the folder; what is there already and right stays. Raises Failed."""
        progress.begin("downloading", published.manifest.size)

        def fetch(file: ModelFile, moved: Moved) -> None:
            self._download(published.manifest, file, folder / file.path, moved)

        _all_at_once(fetch, published.manifest.files, progress.moved)

    def download_whole(self, published: Published, folder: Path, progress: Progress) -> None:
        """A new folder with every file, there whole or not at all. Raises BadInput, Refused, Failed."""
        folder = folder.absolute()  # `.` has no name to make another one beside it
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BadInput(
                "there is something already", where=str(folder), expected="a new or an empty folder"
            )
        begun = folder.with_name(f".{folder.name}.{published.sha256[:SHORT]}.part")
        with no_room_said(f"make {begun.name}", str(begun.parent)):
            begun.mkdir(parents=True, exist_ok=True)
        here = sum(file.stat().st_size for file in begun.rglob("*") if file.is_file())
        free = shutil.disk_usage(begun).free + here
        if free < published.manifest.size:
            raise Refused(
                "there is no room for the model",
                where=str(folder),
                expected=f"{published.manifest.size} bytes",
                got=f"{free} bytes are free",
            )
        self.download(published, begun, progress)
        if folder.exists() and folder.samefile(Path.cwd()):
            for each in begun.iterdir():  # a shell would go on standing in the folder that was replaced
                each.replace(folder / each.name)
            begun.rmdir()
        else:
            begun.replace(folder)

    def aliases(self, name: str) -> Aliases:
        """The model's aliases. Raises Failed."""
        return self._aliases(name)[0]

    def point(self, name: str, alias: str, version: str, by: str = "") -> str | None:
        """Make the alias stand for the version; what it stood for before. Raises BadInput, Failed."""
        if not is_alias(alias):
            raise BadInput(
                "this is no alias", expected="lower-case letters, digits and dashes; no version", got=alias
            )
        published = self.get(name, version)
        for _ in range(ATTEMPTS):
            now, generation = self._aliases(name)
            before = now.aliases.get(alias)
            mine = Alias(version=published.manifest.version, at=datetime.now(UTC), by=by)
            wanted = Aliases(aliases={**now.aliases, alias: mine})
            try:
                data = wanted.model_dump_json(indent=2).encode()
                self.store.replace(aliases_key(name), data, generation)
            except Changed:
                continue  # somebody else has moved one of them meanwhile
            return before.version if before else None
        raise Failed("the aliases are being changed all the time", where=aliases_key(name))

    def _find(self, name: str, version: str) -> Published | None:
        key = manifest_key(name, version)
        try:
            data, _ = self.store.read(key)
        except NotFound:
            return None
        manifest = parse_manifest(data, key)
        if (manifest.name, manifest.version) != (name, version):
            raise Failed("a manifest lies in another version's place", where=key, got=str(manifest.version))
        return Published(manifest, digest_of(data))

    def _create(self, manifest: Manifest) -> Published:
        """The manifest, and with it the version; or the one of who was first."""
        data, key = manifest.to_bytes(), manifest_key(manifest.name, manifest.version)
        try:
            self.store.create(key, data)
        except AlreadyExists:
            winner = self._find(manifest.name, manifest.version)
            if winner is None:
                raise
            return winner
        return Published(manifest, digest_of(data))

    def _settled(self, mine: Manifest, standing: Published) -> Published:
        theirs = standing.manifest
        others = mine.differs_from(theirs)
        if not others:
            return standing
        when = f"{theirs.created:%Y-%m-%d %H:%M} UTC {theirs.created_by}".rstrip()
        raise Refused(
            f"{mine.name} {mine.version} is published already, with {others}",
            where=manifest_key(mine.name, mine.version),
            expected="a version never changes",
            got=f"SHA-256 {standing.sha256}, published {when}",
            next_step=f"model-deploy model show {mine.name} {mine.version}, or publish under another version",
        )

    def _upload(self, wanted: Model, file: ModelFile, source: Source, seen: Seen, moved: Moved) -> ModelFile:
        """Have the file in the store; what an earlier attempt has brought there is not sent again.

        Where that attempt has left other bytes, the file gets a longer key.
        """
        for described in (file, file.model_copy(update={"digits": LONG})):
            key = f"{version_prefix(wanted.name, wanted.version)}{described.key_part}"
            expected = Stored(file.size, file.crc32c)
            try:
                there = self.store.stat(key)
            except NotFound:
                if _seen(source) != seen or self._sent(key, source, moved) != file.sha256:
                    raise Failed(
                        f"{file.path} changed while it was published", where=str(source.file)
                    ) from None
                there = self.store.stat(key)
            else:
                moved(file.size if there == expected else 0)
            if there == expected:
                return described
        raise Failed(
            f"{file.path} is not in the store as it is here",
            where=key,
            expected=f"{expected.size} bytes, CRC32C {expected.crc32c}",
            got=f"{there.size} bytes, CRC32C {there.crc32c}",
            next_step="publish it under another version",
        )

    def _sent(self, key: str, source: Source, moved: Moved) -> str:
        try:
            return self.store.upload(key, source.file, moved)
        except OSError as error:
            raise Failed(
                f"{source.path} could not be published", where=key, got=error.strerror or str(error)
            ) from error

    def _download(self, manifest: Manifest, file: ModelFile, to: Path, moved: Moved) -> None:
        with no_room_said(f"fetch {file.path}", str(to.parent)):
            to.parent.mkdir(parents=True, exist_ok=True)
        if to.is_file() and to.stat().st_size == file.size and checksums_of(to).sha256 == file.sha256:
            moved(file.size)
            return
        key = manifest.key_of(file)
        try:
            got = self.store.download(key, to, moved)
        except OSError as error:
            raise Failed(
                f"{file.path} could not be fetched", where=str(to), got=error.strerror or str(error)
            ) from error
        if got != file.sha256:
            to.unlink()
            raise Failed(
                f"{file.path} of {manifest.name} {manifest.version} is not what was published",
                where=key,
                expected=f"SHA-256 {file.sha256}",
                got=got,
            )

    def _aliases(self, name: str) -> tuple[Aliases, int]:
        key = aliases_key(name)
        try:
            data, generation = self.store.read(key)
            return Aliases.model_validate_json(data), generation
        except NotFound:
            return Aliases(), 0
        except ValidationError as error:
            raise Failed("the model's aliases cannot be read", where=key) from error


class _GivenUp(Failed):
    """Of the files that were under way when another one failed: never what a person is told."""


def _seen(source: Source) -> Seen:
    try:
        found = source.file.stat()
    except OSError as error:
        raise BadInput(
            f"{source.path} cannot be read", where=str(source.file), got=error.strerror or str(error)
        ) from error
    return found.st_size, found.st_mtime_ns


def _described(source: Source, moved: Moved) -> ModelFile:
    try:
        sums = checksums_of(source.file, moved)
    except OSError as error:
        raise BadInput(
            f"{source.path} cannot be read", where=str(source.file), got=error.strerror or str(error)
        ) from error
    return ModelFile(path=source.path, size=sums.size, crc32c=sums.crc32c, sha256=sums.sha256)


def _all_at_once(do: Callable[[Item, Moved], Result], items: Iterable[Item], moved: Moved) -> list[Result]:
    """Do it for all, several at a time; the first failure, or a person's interrupt, ends the others."""
    ended = threading.Event()

    def told(size: int) -> None:
        if ended.is_set():
            raise _GivenUp("another file has failed")
        moved(size)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(do, item, told) for item in items]
        try:
            ready, _ = wait(futures, return_when=FIRST_EXCEPTION)
            _raise_the_cause(ready)
        except BaseException:
            ended.set()
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _raise_the_cause(ready: Iterable[Future[Result]]) -> None:
    """What made the others give up, if anything has failed."""
    problems = [one for future in ready if (one := future.exception()) is not None]
    for problem in sorted(problems, key=lambda one: isinstance(one, _GivenUp)):
        raise problem
