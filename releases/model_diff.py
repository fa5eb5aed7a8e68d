"""What changed between two versions of a model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from releases.model_manifest import Manifest, Metric, ModelFile

SHOWN = 12  # digits of a checksum


@dataclass(frozen=True)
class ModelDiff:
    """Name → before and after; None where there was none."""

    files: dict[str, tuple[ModelFile | None, ModelFile | None]]
    metrics: dict[str, tuple[Metric | None, Metric | None]]

    def lines(self) -> Iterator[str]:
        """For people."""
        for name, (old, new) in self.metrics.items():
            yield f"{name}: {_shown(old)} → {_shown(new)}{_difference(old, new)}"
        for path, (before, after) in self.files.items():
            yield f"{_sign(before, after)} {path}  {_file(before)} → {_file(after)}"
        if not self.files and not self.metrics:
            yield "the same files and metrics"

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "metrics": {name: list(pair) for name, pair in self.metrics.items()},
            "files": {
                path: [one.model_dump() if one else None for one in pair] for path, pair in self.files.items()
            },
        }


def diff(old: Manifest, new: Manifest) -> ModelDiff:
    """Only what is not the same."""
    before, after = ({file.path: file for file in one.files} for one in (old, new))
    names = dict.fromkeys([*old.metrics, *new.metrics])
    return ModelDiff(
        files={
            path: (before.get(path), after.get(path))
            for path in sorted(before.keys() | after.keys())
            if before.get(path) != after.get(path)
        },
        metrics={
            name: (old.metrics.get(name), new.metrics.get(name))
            for name in names
            if old.metrics.get(name) != new.metrics.get(name)
        },
    )


def _sign(before: ModelFile | None, after: ModelFile | None) -> str:
    return "+" if before is None else "-" if after is None else "~"


def _file(file: ModelFile | None) -> str:
    return f"{file.size} bytes {file.sha256[:SHOWN]}" if file else "—"


def _shown(metric: Metric | None) -> str:
    return "—" if metric is None else str(metric)


def _difference(old: Metric | None, new: Metric | None) -> str:
    if isinstance(old, int | float) and isinstance(new, int | float):
        return f" ({new - old:+.4g})"
    return ""
