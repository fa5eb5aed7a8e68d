"""Rows by date as a picture."""

from datetime import date

from flows.picture import BLUE, axes_of, png

SHOWN_DAYS = 90


def rows_plot(rows: dict[str, int]) -> str:
    """A PNG as a data URL: a bar for each of the last days that have rows."""
    shown = sorted(rows)[-SHOWN_DAYS:]
    figure, axes = axes_of(2.2)
    axes.bar([date.fromisoformat(day) for day in shown], [rows[day] for day in shown], color=BLUE)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("rows", fontsize=8)
    return png(figure)
