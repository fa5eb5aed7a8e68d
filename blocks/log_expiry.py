"""Exported logs past their time: on a directory, what a bucket's lifecycle does by itself."""

import shutil
from datetime import UTC, date, datetime, timedelta

from blocks.store import DirectoryStore
from releases.log_export import EXPORTS, PARTS

DAY = "date=????-??-??"


def expire_logs(store: DirectoryStore, environment: str, today: date) -> list[str]:
    """Delete whole days, the oldest first; what waits for the export stays. Returns their keys."""
    first = f"date={today - timedelta(days=store.keep_logs)}"
    days = (store.path / PARTS).glob(f"service=*/environment={environment}/{DAY}")
    gone = sorted((day for day in days if day.name < first), key=lambda day: day.name)
    for day in gone:
        shutil.rmtree(day)
    forget_containers(store, environment, today)
    return [day.relative_to(store.path).as_posix() for day in gone]


def forget_containers(store: DirectoryStore, environment: str, today: date) -> None:
    """Checkpoints of containers that nothing was exported of for as long as logs are kept."""
    for file in (store.path / EXPORTS).glob(f"service=*/environment={environment}/*.json"):
        written = datetime.fromtimestamp(file.stat().st_mtime, UTC).date()
        if written < today - timedelta(days=store.keep_logs):
            file.unlink(missing_ok=True)
