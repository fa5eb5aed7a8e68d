"""Whose word counts beside a commit on GitHub, where several runs have released it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from blocks.store import DirectoryStore
from flows.unheard import _about, _spoken_for
from releases.ledger import Ledger
from tests.releases.test_swap import release


def test_the_newest_release_of_a_commit_speaks_for_it(tmp_path: Path) -> None:
    ledger = Ledger(DirectoryStore(path=tmp_path), "iris", "local")
    for run in ("killed", "later"):
        ledger.claim(
            lambda number, run=run: release(number).model_copy(
                update={"revision": "c" * 40, "created_by": run}
            )
        )
    where: Any = SimpleNamespace(ledger=lambda _: ledger, watched=lambda _: None)
    killed, later = (SimpleNamespace(id=run, parameters={"service": "iris"}) for run in ("killed", "later"))
    assert _about(where, killed)[1] == "c" * 40  # type: ignore[arg-type]
    assert _spoken_for(where, killed, "c" * 40)  # type: ignore[arg-type]
    assert not _spoken_for(where, later, "c" * 40)  # type: ignore[arg-type]
