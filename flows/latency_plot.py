"""The latencies of the smoke checks as a picture."""

from threading import Thread

from blocks.smoke import CheckResult
from flows.picture import BLUE, axes_of, png
from releases.smoke import p95


def load_beside() -> None:
    """Load matplotlib in a thread: most of a second that a release has while its container starts."""
    Thread(target=latency_plot, args=([CheckResult("", (0.0,))],), name="matplotlib").start()


def latency_plot(checks: list[CheckResult]) -> str:
    """A PNG as a data URL: every request of every check in the order sent, in milliseconds, and the p95."""
    figure, axes = axes_of(0.9 + 0.5 * len(checks))
    for row, check in enumerate(checks):
        milliseconds = [latency * 1000 for latency in check.latencies]
        axes.scatter(milliseconds, [row] * len(milliseconds), s=14, alpha=0.5, color=BLUE, linewidths=0)
        axes.scatter([p95(milliseconds)], [row], s=220, marker="|", color="#c2410c", linewidths=2)
    axes.set_yticks(range(len(checks)), [check.title for check in checks], fontsize=8)
    axes.set_ylim(len(checks) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel("milliseconds a request; the bar is the 95th percentile", fontsize=8)
    return png(figure)
