"""The pictures of a report."""

from blocks.service_facts import ServiceFacts
from flows.picture import BLUE, GREY, RED, axes_of, png
from releases.release import ReleasedModel, Verdict

COLOURS = {Verdict.confirmed: BLUE, Verdict.reverted: RED, Verdict.failed: GREY}


def releases_plot(one: ServiceFacts) -> str:
    """Releases over time, one row for each model version, coloured by how they ended."""
    models = sorted({_model(entry.release.model) for entry in one.entries})
    figure, axes = axes_of(0.9 + 0.4 * len(models))
    for verdict, colour in COLOURS.items():
        shown = [entry for entry in one.entries if entry.outcome and entry.outcome.verdict is verdict]
        times = [entry.outcome.at for entry in shown if entry.outcome]
        rows = [models.index(_model(entry.release.model)) for entry in shown]
        axes.scatter(times, rows, s=40, color=colour, label=str(verdict))
    axes.set_yticks(range(len(models)), models, fontsize=8)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return png(figure)


def traffic_plot(one: ServiceFacts) -> str:
    """Requests of each release, and how many of them failed."""
    releases = sorted(one.traffic)
    names = [str(release) for release in releases]
    figure, axes = axes_of(2.2)
    axes.bar(names, [one.traffic[release].requests for release in releases], color=BLUE, label="requests")
    axes.bar(names, [one.traffic[release].errors for release in releases], color=RED, label="failed (5xx)")
    axes.set_xlabel("release", fontsize=8)
    axes.legend(fontsize=8, frameon=False)
    return png(figure)


def drift_plot(one: ServiceFacts) -> str:
    """The stability index of each feature; from the red line on it has shifted."""
    figure, axes = axes_of(0.9 + 0.3 * len(one.drift))
    names = [each.feature for each in one.drift]
    axes.barh(names, [each.index or 0.0 for each in one.drift], color=BLUE)
    axes.axvline(0.25, color=RED, linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel("population stability index", fontsize=8)
    return png(figure)


def _model(model: ReleasedModel | None) -> str:
    return f"{model.name} {model.version}" if model else "in the image"
