"""Asking a person: a form in the Prefect UI, or `model-deploy approve` and `reject`."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from blocks.environment import Environment
from blocks.notifications import tell
from flows.stopwatch import STEPS
from releases.approval import Expired, Proposal, Rejected, page
from releases.evidence import Approval
from releases.rules import ApprovalRule

WAITS = "model-deploy:waits-for-approval"  # on a run exactly as long as it waits
LOOK_SECONDS = 1
INPUTS = 10  # more than Prefect stores of one question


class Answer(RunInput):
    """The form."""

    decision: Literal["approve", "reject"] = Field(description="Shall this go on?")
    by: str = Field(min_length=1, description="Your name. It is recorded in the release.")
    reason: str = Field("", description="Why. It is recorded in the release.")


def approved(where: Environment, rule: ApprovalRule, proposal: Proposal) -> Approval:
    """What a person says to the proposal. Raises Rejected, Expired.

    A run of a deployment is suspended: it ends here, and is run again from the top once there is an answer.
    One that was started from the command line waits in its process.
    """
    key = f"approval-{proposal.key}"
    expires = datetime.now(UTC) + timedelta(seconds=rule.expires)
    text = f"{page(proposal)}\n\nExpires {expires:%Y-%m-%d %H:%M} UTC."
    if not _asked(key):
        _forget_answers(key)
        tell(where.rules.notify, f"Approval wanted: {proposal.title}", f"{text}\n\n{hint()}")
    answer = ask(key, proposal.title, text, rule.expires)
    if answer is None:
        raise Expired(
            f"nobody has approved {proposal.title} in time",
            expected=f"an answer within {rule.expires:.0f} s",
            got="none; nothing was touched",
            next_step="ask again: the same command, or Retry in the UI",
        )
    if answer.decision == "reject":
        raise Rejected(
            f"{answer.by} has rejected {proposal.title}", got=answer.reason or "no reason was given"
        )
    return Approval(by=answer.by, reason=answer.reason, at=datetime.now(UTC))


def ask(key: str, title: str, text: str, seconds: float, *, suspend: bool = True) -> Answer | None:
    """The person's answer; None where none came in time. `suspend` lets go of the process, where it can."""
    run, form = _run(), Answer.with_initial_data(description=text)
    _tag(run, waits=True, name=title)
    if suspend and run.deployment_id is not None:
        answer = suspend_flow_run(wait_for_input=form, timeout=round(seconds), key=key)
    else:
        STEPS.info("waiting for a person: %s", hint())
        try:
            answer = pause_flow_run(
                wait_for_input=form, timeout=round(seconds), poll_interval=LOOK_SECONDS, key=key
            )
        except FlowPauseTimeout:
            answer = None
    _tag(run, waits=False)
    return answer


def waits_no_more(run: FlowRun | None = None) -> None:
    """Take the tag off a run that has ended without a process; else off this one, if it was suspended.

    A flow begins with it: the run has its answer then, and may fail for other reasons.
    """
    run = run or _run()
    if WAITS in run.tags:
        _tag(run, waits=False)


def hint() -> str:
    """What to type."""
    return f"model-deploy approve {str(_run().id)[:13]} --reason … (or reject)"


def _asked(key: str) -> bool:
    """Whether this run has asked this before: it is run again from the top after an answer."""
    with get_client(sync_client=True) as client:
        return key in (client.read_flow_run(_run().id).empirical_policy.pause_keys or set())


def _forget_answers(key: str) -> None:
    """A run that was answered and then retried asks anew: Prefect takes no second answer beside the first."""
    run = _run().id
    with get_client(sync_client=True) as client:
        for state in ("suspended", "paused"):
            for one in client.filter_flow_run_input(run, f"{state}-{key}-", INPUTS, set()):
                client.delete_flow_run_input(run, one.key)


def _run() -> Any:
    """The flow run that we are in."""
    context = FlowRunContext.get()
    return context.flow_run if context else None


def _tag(run: FlowRun, *, waits: bool, name: str | None = None) -> None:
    with get_client(sync_client=True) as client:
        tags = set(client.read_flow_run(run.id).tags)
        client.update_flow_run(run.id, name=name, tags=tags | {WAITS} if waits else tags - {WAITS})
