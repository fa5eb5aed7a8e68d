"""The ledger's numbers: claims of several writers, interleaved at every call of the store, on bad days too."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from releases.ledger import Ledger
from releases.problem import Unreachable
from releases.release import Release
from releases.store import AlreadyExists
from tests.releases.test_swap import release

SECONDS = 5


@dataclass
class Bucket:
    """The model: what is written stays."""

    objects: dict[str, bytes] = field(default_factory=dict)

    def create(self, key: str, data: bytes) -> None:
        """As every store does: the same bytes again are an answer that was lost, not another writer."""
        if self.objects.setdefault(key, data) != data:
            raise AlreadyExists(key)


class Writer:
    """Claims in a thread of its own, which takes its next step when it is told to."""

    def __init__(self, name: int, bucket: Bucket, days: Iterator[str]) -> None:
        self.name, self.bucket, self.days = name, bucket, days
        self.go, self.stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.got: Release | None = None
        self.over = False
        self.thread = threading.Thread(target=self._claim, daemon=True)
        self.thread.start()
        assert self.stopped.acquire(timeout=SECONDS)

    def step(self) -> None:
        """One call of the store."""
        if not self.over:
            self.go.release()
            assert self.stopped.acquire(timeout=SECONDS)

    def _claim(self) -> None:
        self._wait()
        store: Any = self
        with suppress(Unreachable):
            self.got = Ledger(store, "iris", "local").claim(self.made)
        self.over = True
        self.stopped.release()

    def made(self, number: int) -> Release:
        return release(number).model_copy(update={"created_by": str(self.name)})

    def _wait(self) -> None:
        self.stopped.release()
        self.go.acquire()

    # The store, as the ledger sees it.

    def list(self, prefix: str) -> list[str]:
        found = sorted(key for key in self.bucket.objects if key.startswith(prefix))
        self._wait()
        return found

    def create(self, key: str, data: bytes) -> None:
        day = next(self.days, "good")
        if day == "does not arrive":
            raise Unreachable("503")
        self.bucket.create(key, data)
        self._wait()  # the others go on while its answer is under way
        if day == "sent again":
            self.bucket.create(key, data)
        if day == "no answer":
            raise Unreachable("the answer was lost")


DAYS = st.lists(st.sampled_from(["good", "good", "sent again", "no answer", "does not arrive"]), max_size=20)


@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 3), max_size=8), DAYS)
@settings(max_examples=150, deadline=None)
def test_of_writers_that_claim_at_once_each_gets_a_number_of_its_own(
    turns: list[int], later: list[int], days: list[str]
) -> None:
    bucket, weather = Bucket(), iter(days)
    first = [Writer(name, bucket, weather) for name in range(4)]
    for turn in turns:
        first[turn].step()
    finished_before = [one.got.number for one in first if one.over and one.got]
    second = [Writer(name, bucket, weather) for name in range(4, 6)]
    for turn in later:
        (first + second)[turn].step()
    for writer in first + second:
        while not writer.over:
            writer.step()

    got = [one.got for one in first + second if one.got is not None]
    numbers = sorted(int(key.removesuffix(".json").rpartition("/")[2]) for key in bucket.objects)
    assert numbers == list(range(1, len(numbers) + 1)), "a number is missing"
    assert len({one.number for one in got}) == len(got), "two writers have one number"
    written = {Release.model_validate_json(data).number: data for data in bucket.objects.values()}
    for one in got:
        assert Release.model_validate_json(written[one.number]) == one, "it is another's record"
    for one in second:
        if one.got is not None:
            assert one.got.number > max(finished_before, default=0), "it came later and is numbered earlier"
    silent = len(written) - len(got)
    assert silent <= days.count("no answer"), "a record that nobody has been told of"
