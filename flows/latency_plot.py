"""The latencies of the smoke checks as a picture."""

import base64
import io

from blocks.smoke import CheckResult
from releases.smoke import p95


def latency_plot(checks: list[CheckResult]) -> str:
    """A PNG as a data URL: every request of every check in the order sent, in milliseconds, and the p95."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second, after the release is live

    figure = Figure(figsize=(8, 0.9 + 0.5 * len(checks)), layout="constrained")
    axes = figure.subplots()
    for row, check in enumerate(checks):
        milliseconds = [latency * 1000 for latency in check.latencies]
        axes.scatter(milliseconds, [row] * len(milliseconds), s=14, alpha=0.5, color="#2463eb", linewidths=0)
        axes.scatter([p95(milliseconds)], [row], s=220, marker="|", color="#c2410c", linewidths=2)
    axes.set_yticks(range(len(checks)), [check.title for check in checks], fontsize=8)
    axes.set_ylim(len(checks) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel("milliseconds a request; the bar is the 95th percentile", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
