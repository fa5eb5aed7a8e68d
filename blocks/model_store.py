"""Model versions in a store: published once and whole, listed, fetched, and named by aliases."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from blocks.at_once import all_at_once
from blocks.model_files import described, download_file, last_seen, upload_file
from blocks.model_folder import Source
from releases.model_manifest import (
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
)
from releases.model_version import ModelVersion, is_alias, is_version
from releases.problem import BadInput, Failed, Refused
from releases.release import ReleasedModel
from releases.spec import Model
from releases.store import AlreadyExists, Changed, Moved, NotFound, Store, no_room_said

ATTEMPTS = 20


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
            seen = last_seen(source)
            file = described(source, moved)
            return upload_file(self.store, wanted, file, source, seen, moved) if standing is None else file

        manifest = Manifest(
            name=wanted.name,
            version=wanted.version,
            files=tuple(all_at_once(put, sources, progress.moved)),
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
            download_file(self.store, published.manifest, file, folder / file.path, moved)

        all_at_once(fetch, published.manifest.files, progress.moved)

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

    def _aliases(self, name: str) -> tuple[Aliases, int]:
        key = aliases_key(name)
        try:
            data, generation = self.store.read(key)
            return Aliases.model_validate_json(data), generation
        except NotFound:
            return Aliases(), 0
        except ValidationError as error:
            raise Failed("the model's aliases cannot be read", where=key) from error
