"""Rows by date as a picture."""

import base64
import io
from datetime import date
from typing import Any

SHOWN_DAYS = 90


def rows_plot(rows: dict[str, int]) -> str:
    """A PNG as a data URL: a bar for each of the last days that have rows."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second

    shown = sorted(rows)[-SHOWN_DAYS:]
    days: Any = [date.fromisoformat(day) for day in shown]
    figure = Figure(figsize=(8, 2.2), layout="constrained")
    axes = figure.subplots()
    axes.bar(days, [rows[day] for day in shown], color="#2463eb")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("rows", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
