"""The ledger: the record of releases in the bucket, one claim and one outcome each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from releases.problem import BadInput, Failed
from releases.release import Outcome, Release, Verdict
from releases.store import AlreadyExists, NotFound, Store

CLAIM_ATTEMPTS = 100
OUTCOME = ".outcome"
FOLDER = "releases/"  # then SERVICE/ENVIRONMENT/NNNNNN.json
Record = TypeVar("Record", Release, Outcome)


@dataclass(frozen=True)
class Entry:
    """A release and how it ended; no outcome: it is going on, or its controller died."""

    release: Release
    outcome: Outcome | None

    @property
    def confirmed(self) -> bool:
        """Whether users were left with it."""
        return self.outcome is not None and self.outcome.verdict is Verdict.confirmed


def services_in(store: Store, environment: str) -> set[str]:
    """The services that have a release in the environment."""
    keys = (key.split("/") for key in store.list(FOLDER))
    return {parts[1] for parts in keys if len(parts) > 2 and parts[2] == environment}  # noqa: PLR2004


@dataclass(frozen=True)
class Ledger:
    """The releases of one service in one environment."""

    store: Store
    service: str
    environment: str

    @property
    def _prefix(self) -> str:
        return f"{FOLDER}{self.service}/{self.environment}/"

    def claim(self, make: Callable[[int], Release]) -> Release:
        """Write the release under the next free number; of two writers each gets one. Raises Failed."""
        number = max(self._numbers(), default=0) + 1
        for _ in range(CLAIM_ATTEMPTS):
            release = make(number)
            try:
                self.store.create(self._key(number), release.model_dump_json(indent=2).encode())
            except AlreadyExists:
                number += 1
                continue
            return release
        raise Failed(
            "no release number could be claimed", where=self._prefix, got=f"{CLAIM_ATTEMPTS} were taken"
        )

    def settle(self, outcome: Outcome) -> bool:
        """Record how a release ended; False if that was recorded before, which then stands."""
        try:
            self.store.create(self._key(outcome.number, OUTCOME), outcome.model_dump_json(indent=2).encode())
        except AlreadyExists:
            return False
        return True

    def entries(self) -> list[Entry]:
        """Every release, newest first. Raises Failed for a record that cannot be read."""
        return list(self.newest_first())

    def newest_first(self) -> Iterator[Entry]:
        """Every release, each read when it is asked for: two requests to a bucket. Raises Failed."""
        for number in sorted(self._numbers(), reverse=True):
            yield self.get(number)

    def unsettled(self) -> list[Release]:
        """The releases without an outcome, newest first; nothing else is read. Raises Failed."""
        open_ones = sorted(set(self._numbers()) - set(self._numbers(OUTCOME)), reverse=True)
        return [self.get(number).release for number in open_ones]

    def get(self, number: int) -> Entry:
        """One release. Raises NotFound, Failed."""
        release = self._read(self._key(number), Release)
        if release is None:
            raise NotFound(
                f"there is no release {number} of {self.service} in {self.environment}",
                next_step="model-deploy history",
            )
        return Entry(release, self._read(self._key(number, OUTCOME), Outcome))

    def live(self) -> Entry | None:
        """The release that was confirmed last."""
        return next((entry for entry in self.newest_first() if entry.confirmed), None)

    def before(self, live: Release) -> Release:
        """The last good release before the live content: two rollbacks go two back. Raises BadInput."""
        for entry in self.newest_first():
            original = entry.release.restores is None
            if entry.confirmed and original and entry.release.number < live.content_number:
                return entry.release
        raise BadInput(
            f"there is no good release before {live.content_number}",
            where=f"{self.service} in {self.environment}",
            next_step="model-deploy history",
        )

    def named(self, name: str) -> Release:
        """A confirmed release by number or version. Raises BadInput."""
        good: list[Release] = []
        for entry in self.newest_first():
            release = entry.release
            if not entry.confirmed:
                continue
            if name in {str(release.number), release.version, release.digest}:
                return release
            good.append(release)
        raise BadInput(
            f"no confirmed release is called {name}",
            where=f"{self.service} in {self.environment}",
            expected="one of "
            + (", ".join(f"{one.number} ({one.version})" for one in good[:10]) or "none yet"),
            next_step="model-deploy history",
        )

    def _numbers(self, kind: str = "") -> list[int]:
        keys = (key.removeprefix(self._prefix) for key in self.store.list(self._prefix))
        stems = (key.removesuffix(f"{kind}.json") for key in keys if key.endswith(f"{kind}.json"))
        return [int(stem) for stem in stems if stem.isdigit()]

    def _key(self, number: int, kind: str = "") -> str:
        return f"{self._prefix}{number:06d}{kind}.json"

    def _read(self, key: str, model: type[Record]) -> Record | None:
        try:
            data, _ = self.store.read(key)
        except NotFound:
            return None
        try:
            return model.model_validate_json(data)
        except ValidationError as error:
            raise Failed(
                "a record of the ledger cannot be read", where=key, got=str(error).splitlines()[0]
            ) from error
