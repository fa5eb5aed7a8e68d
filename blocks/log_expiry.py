"""Exported logs past their time: on a directory, what a bucket's lifecycle does by itself."""

import shutil
from datetime import date, timedelta

from blocks.store import DirectoryStore
from releases.log_export import PARTS

DAY = "date=????-??-??"


def expire_logs(store: DirectoryStore, environment: str, today: date) -> list[str]:
    """Delete whole days, the oldest first; what waits for the export stays. Returns their keys."""
    first = f"date={today - timedelta(days=store.keep_logs)}"
    days = (store.path / PARTS).glob(f"service=*/environment={environment}/{DAY}")
    gone = sorted((day for day in days if day.name < first), key=lambda day: day.name)
    for day in gone:
        shutil.rmtree(day)
    return [day.relative_to(store.path).as_posix() for day in gone]
