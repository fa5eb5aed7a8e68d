"""What stands between a release and its environment: freeze windows, gates, approval, hooks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from prefect import get_run_logger

from blocks import hooks
from blocks.environment import Environment
from blocks.model_store import ModelStore
from blocks.notifications import tell
from flows.approval import approved, waits_no_more
from flows.deploying import settle_open_claims
from flows.turn import never, turn
from releases import freeze
from releases.approval import Expired, Proposal, Rejected
from releases.evidence import Approval
from releases.gate import Finding, judge
from releases.problem import Problem, Refused, Superseded
from releases.release import Release, ReleasedModel


@dataclass(frozen=True)
class Admission:
    """A release that may go on, and what its record keeps of why."""

    proposal: Proposal
    approval: Approval | None = None
    freeze_override: str = ""


@contextmanager
def admitted(
    where: Environment,
    service: str,
    propose: Callable[[], Proposal],
    override_freeze: str,
    still_newest: Callable[[], bool] = never,
) -> Iterator[Admission]:
    """Hold the service's turn with what was proposed admitted. Raises Refused, Rejected, Expired, Superseded.

    An approval is void when another release went live before our turn: the person is asked again. Where
    nobody is asked, the gates judge anew. A freeze window that has begun meanwhile counts.
    """
    while True:
        proposal = propose()
        check_freeze(where, override_freeze)  # before anybody is asked, or waited for
        admission = admit(where, proposal)
        with turn(service, where.name, admission.proposal.title, still_newest):
            settle_open_claims(where, service)
            live = where.ledger(service).live()
            as_assumed = (live.release if live else None) == admission.proposal.live
            if not as_assumed and admission.approval is None:
                admission, as_assumed = admit(where, propose()), True
            if as_assumed:
                yield replace(admission, freeze_override=check_freeze(where, override_freeze))
                return
        get_run_logger().warning("the approval is void: another release went live meanwhile; asking again")


def admit(where: Environment, proposal: Proposal) -> Admission:
    """Gates, then a person where the environment asks for one. Raises Refused, Rejected, Expired."""
    for finding in proposal.findings:
        get_run_logger().info("gate %s: %s", finding.gate, finding.said)
        if not finding.holds:
            raise Refused(f"{proposal.title} does not pass a gate", expected=finding.gate, got=finding.said)
    approval = approved(where, where.rules.approval, proposal) if where.rules.approval else None
    return Admission(proposal, approval)


def check_freeze(where: Environment, override: str) -> str:
    """The reason that was given, where it was needed. Raises Frozen in a freeze window."""
    try:
        freeze.check(where.name, where.rules.freeze, datetime.now(UTC))
    except freeze.Frozen as frozen:
        if not override:
            raise
        get_run_logger().warning("%s (%s); overridden: %s", frozen.what, frozen.got, override)
        return override
    return ""


def findings(
    where: Environment, models: ModelStore, model: ReleasedModel | None, live: Release | None
) -> tuple[Finding, ...]:
    """What the environment's gates say of the model, which is one of `models`."""
    if not where.rules.gates:
        return ()
    if model is None:
        get_run_logger().warning("GATES ARE NOT APPLIED: the service names no model, so there are no metrics")
        return ()
    metrics = metrics_of(models, model)
    now = metrics_of(where.models(), live.model) if live and live.model else None
    return tuple(judge(gate, metrics, now) for gate in where.rules.gates)


def metrics_of(models: ModelStore, model: ReleasedModel) -> dict[str, float]:
    """The numbers in its manifest; none where it was never published, and the image carries it."""
    if not model.sha256:
        return {}
    known = models.get(model.name, model.version).manifest.metrics
    return {
        name: float(value)
        for name, value in known.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


@contextmanager
def hooks_around(where: Environment, proposal: Proposal) -> Iterator[None]:
    """Call the environment's hooks before and after the block. Raises Refused when one before it fails."""
    event = {
        "service": proposal.service,
        "environment": proposal.environment,
        "version": proposal.version,
        "revision": proposal.revision,
        "model": str(proposal.model or ""),
    }
    for hook in where.rules.hooks.before:
        try:
            hooks.call(hook, {"event": "before", **event})
        except Problem as problem:
            problem.next_step = "nothing was touched; mend the hook and try again"
            raise Refused(problem.what, "", problem.expected, problem.got, problem.next_step) from problem
    outcome = "failed"
    try:
        yield
        outcome = "confirmed"
    finally:
        for hook in where.rules.hooks.after:
            try:
                hooks.call(hook, {"event": "after", "outcome": outcome, **event})
            except Problem as problem:
                get_run_logger().warning("%s", problem)


@contextmanager
def telling(where: Environment, title: str) -> Iterator[None]:
    """Tell the environment's people when the block fails, unless a person or a newer release ended it."""
    waits_no_more()
    try:
        yield
    except (Superseded, Rejected, Expired):
        raise
    except Exception as error:
        what = error.what if isinstance(error, Problem) else f"{type(error).__name__}: {error}"
        tell(where.rules.notify, f"Failed: {title}: {what.splitlines()[0]}", str(error))
        raise
