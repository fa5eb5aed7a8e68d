"""Canary: a new release gets its traffic step by step, each with a verdict from the edge's own counters."""

import time
from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.notifications import tell
from flows.approval import ask, hint
from flows.trial import NODE_SLACK, Trial, await_node
from releases.approval import Expired, Rejected
from releases.problem import Failed
from releases.rollout import WHOLE, Judgement, Rollout, Verdict, judge
from releases.status import ServiceStatus, SideBySide

HOLDS = 2  # a step that says too little is held once more
TO_ANSWER = 5.0  # seconds that an answer has to arrive before the node takes the release back


def canary(trial: Trial, rollout: Rollout, notify: Sequence[str]) -> None:
    """Every step below 100 per cent. Raises Failed, Rejected or Expired: the release is to be taken back.

    `notify`: who is told where the counters leave it to a person.
    """
    for share in rollout.steps:
        if share == WHOLE:
            return
        judgement = hold.with_options(task_run_name=f"{share} per cent")(trial, rollout, share)
        if judgement.verdict is Verdict.inconclusive:
            ask_a_person(trial, share, judgement, notify)


@task(cache_policy=NO_CACHE)
def hold(trial: Trial, rollout: Rollout, share: int) -> Judgement:
    """Give it that much and look at the counters for as long as asked; again where they say too little."""
    trial.target.shift(trial.release.service, trial.generation, share)
    await_node(trial, lambda status: status.traffic == share, NODE_SLACK)
    judgements: list[Judgement] = []
    for _ in range(HOLDS):
        ends = time.monotonic() + rollout.hold

        def decided(status: ServiceStatus, ends: float = ends) -> bool:
            over = time.monotonic() >= ends
            judgement = judge(rollout, status.counters or SideBySide(), over=over)
            if judgement.verdict is Verdict.failed:
                raise Failed(f"the canary failed at {share} % of the traffic", got=judgement.said)
            if over:
                judgements.append(judgement)  # one of each node
            return over

        judgements.clear()
        await_node(trial, decided, rollout.hold + NODE_SLACK)
        open_ones = [one for one in judgements if one.verdict is Verdict.inconclusive]
        if not open_ones:
            return judgements[0]
    return open_ones[0]


def ask_a_person(trial: Trial, share: int, judgement: Judgement, notify: Sequence[str]) -> None:
    """Whether it shall get more traffic all the same. Raises Rejected, Expired."""
    release = trial.release
    status = trial.target.status(release.service)
    seconds = max(1.0, (status.reverts_in or 0.0) - TO_ANSWER)
    title = f"{release.service} {release.version} to {release.environment}"
    text = (
        f"**{title}**: the canary is inconclusive at {share} % of the traffic\n\n- {judgement.said}\n\n"
        f"Approve: it goes on with more traffic. Reject, or no answer within {seconds:.0f} s: it is taken "
        f"back (by the node itself if need be), and release {status.live} keeps all traffic."
    )
    tell(notify, f"Canary inconclusive: {title}", f"{text}\n\n{hint()}")
    answer = ask(f"canary-{release.number}-{share}", title, text, seconds, suspend=False)
    if answer is None:
        raise Expired(
            f"the canary is inconclusive at {share} % of the traffic, and nobody answered", got=judgement.said
        )
    if answer.decision == "reject":
        raise Rejected(
            f"{answer.by} has rejected the canary at {share} % of the traffic",
            got=f"{answer.reason or 'no reason was given'}; {judgement.said}",
        )
