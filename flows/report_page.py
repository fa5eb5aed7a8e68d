"""A report as a self-contained HTML page, and as Markdown."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from blocks.service_facts import ServiceFacts
from flows.report_plots import drift_plot, releases_plot, traffic_plot
from releases.drift import verdict
from releases.edge_traffic import Tally
from releases.release import Outcome, Release, Verdict

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1f2937}
table{border-collapse:collapse;margin:.8rem 0}th,td{padding:.25rem .8rem .25rem 0;text-align:left;
border-bottom:1px solid #e5e7eb}th{font-weight:600}img{max-width:100%}h2{margin-top:2.5rem}
.missing{color:#6b7280}.reverted,.failed,.shifted{color:#b91c1c}.confirmed,.stable{color:#15803d}
"""
Rows = Sequence[tuple[str, ...]]
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
NO_LATENCY = [("", "—")] * len(PERCENTILES)


def page(facts: list[ServiceFacts], environment: str, start: datetime, end: datetime) -> str:
    """The whole page; nothing is loaded from elsewhere."""
    title = f"{environment}, {start:%Y-%m-%d} to {end:%Y-%m-%d}"
    body = "".join(_section(one) for one in facts) or "<p>Nothing was released here yet.</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>"
    )


def digest(facts: list[ServiceFacts], environment: str, start: datetime, end: datetime) -> str:
    """A few lines for chat."""
    lines = [f"**{environment}, {start:%Y-%m-%d} to {end:%Y-%m-%d}**"]
    for one in facts:
        said = [f"{name.lower()} {value}" for name, value in _dora(one)]
        requests = sum(traffic.requests for traffic in one.traffic.values())
        errors = sum(traffic.errors for traffic in one.traffic.values())
        said += [f"{requests} requests, {errors} failed"] if requests else []
        said += [f"{name} {value}" for name, value in _latency(one.traffic.values())]
        moved = [drift.feature for drift in one.drift if drift.index and verdict(drift.index) == "shifted"]
        said += [f"inputs that shifted: {', '.join(moved)}"] if moved else []
        lines.append(f"- **{one.service}**: {'; '.join(said)}")
    return "\n".join(lines if facts else [*lines, "- nothing was released here yet"])


def preview(text: str, facts: list[ServiceFacts]) -> str:
    """The digest with the releases' picture, for the UI."""
    pictures = [f"## {one.service}\n\n![releases]({releases_plot(one)})" for one in facts if one.entries]
    return "\n\n".join([text, *pictures])


def _section(one: ServiceFacts) -> str:
    parts = [
        f"<h2>{escape(one.service)}</h2>",
        _table(("measure", "value"), _dora(one)),
        _picture("releases", releases_plot(one)) if one.entries else "",
        _table(
            ("release", "version", "model", "ended", "how", "why"),
            [_release(each.release, each.outcome) for each in one.entries if each.outcome],
        ),
    ]
    if one.traffic:
        rows = [
            (
                str(release) if release else "the edge itself",
                str(each.requests),
                f"{each.per_second:.2f}/s",
                f"{each.error_rate:.2%}",
                *(value for _, value in _latency([each]) or NO_LATENCY),
            )
            for release, each in sorted(one.traffic.items())
        ]
        parts += ["<h3>Requests by release</h3>", _picture("requests", traffic_plot(one))]
        parts.append(_table(("release", "requests", "mean rate", "failed (5xx)", *PERCENTILES), rows))
    if one.drift:
        features = [(each.feature, *_index(each.index), str(each.values)) for each in one.drift]
        parts += ["<h3>Inputs against the training data</h3>", _picture("drift", drift_plot(one))]
        parts.append(_table(("feature", "stability index", "", "values"), features))
    if one.missing:
        said = "".join(f"<li>{escape(each)}</li>" for each in one.missing)
        parts.append(f'<div class="missing">Not in this report:<ul>{said}</ul></div>')
    return "".join(parts)


def _latency(tallies: Iterable[Tally]) -> Rows:
    """The percentiles of all of them; nothing where none is known."""
    whole = Tally(service="", release=0)
    for tally in tallies:
        whole.add_all(tally)
    found = [(name, whole.milliseconds(share)) for name, share in PERCENTILES.items()]
    return [(name, f"{value:.0f} ms") for name, value in found if value is not None]


def _dora(one: ServiceFacts) -> Rows:
    dora = one.dora
    rate = "—" if dora.failure_rate is None else f"{dora.failure_rate:.0%} ({dora.failed})"
    return [
        ("Deployments", f"{dora.deployments} ({dora.per_week:.1f} a week)"),
        ("Lead time from commit to live", duration(dora.lead_time)),
        ("Change failure rate", rate),
        ("Time to restore", duration(dora.time_to_restore)),
    ]


def duration(seconds: float | None) -> str:
    """For people."""
    if seconds is None:
        return "—"
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _release(release: Release, outcome: Outcome) -> tuple[str, ...]:
    model = f"{release.model.name} {release.model.version}" if release.model else "—"
    back = f", brings back {release.restores}" if release.restores else ""
    why = outcome.reason.splitlines()[0] if outcome.reason else ""
    at = f"{outcome.at:%Y-%m-%d %H:%M}"
    return (str(release.number), release.version + back, model, at, str(outcome.verdict), why)


def _index(index: float | None) -> tuple[str, str]:
    return ("—", "too few values") if index is None else (f"{index:.3f}", verdict(index))


def _table(head: tuple[str, ...], rows: Rows) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ["".join(f'<td class="{_class(cell)}">{escape(cell)}</td>' for cell in row) for row in rows]
    return f"<table><tr>{names}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _class(cell: str) -> str:
    return cell if cell in {*Verdict, "stable", "shifted"} else ""


def _picture(name: str, data: str) -> str:
    return f'<p><img alt="{name}" src="{data}"></p>'
