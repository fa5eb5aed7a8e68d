"""Matplotlib figures as data URLs."""

import base64
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE = "#2463eb"
RED = "#b91c1c"
GREY = "#9ca3af"


def axes_of(height: float) -> tuple["Figure", Any]:
    """A figure eight inches wide with one pair of axes, in the look that all our pictures have."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second

    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots()
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png(figure: "Figure") -> str:
    """As a data URL."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
