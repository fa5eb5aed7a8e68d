"""Deploy, smoke-test, confirm, record: the part that a release and a rollback share."""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment
from blocks.notifications import tell
from blocks.smoke import CheckResult, run_checks_on_each
from blocks.targets.failure import logs_command
from flows.canary import canary
from flows.ctrl_c import confirmed
from flows.latency_plot import load_beside
from flows.stopwatch import Step, Stopwatch, say_loudly
from flows.trial import NODE_SLACK, Renewal, Trial, await_node, baking
from releases.problem import Problem
from releases.provisioning.resources import RELEASED
from releases.release import Outcome, Release, Verdict
from releases.rollout import WHOLE
from releases.smoke import checks_of
from releases.spec import Run, SmokeCheck
from releases.status import Phase, ServiceStatus

STEPS = [
    Step.deploy,
    Step.start,
    Step.smoke_test,
    Step.canary,
    Step.switch,
    Step.smoke_test_after,
    Step.bake,
    Step.confirm,
]
PULL_LIMIT = 900.0
FETCH_LIMIT = 900.0


@dataclass(frozen=True)
class Deployed:
    """A release that was confirmed."""

    release: Release
    url: str
    checks: list[CheckResult]
    seconds: dict[str, float] = field(default_factory=dict)


def deploy(environment: Environment, release: Release, bake: float, watch: Stopwatch) -> Deployed:
    """Bring a claimed release to its users, or take it back. Raises Problem, after the way back is done."""
    load_beside()
    checks = checks_of(release)
    if not checks:
        say_loudly(
            "NO SMOKE CHECKS: model-deploy.yaml names none; it is only seen that the new release answers"
        )
    target, token = environment.target, secrets.token_urlsafe(24)
    key_sha256 = hashlib.sha256(token.encode()).hexdigest()
    target.ask_with(token)
    former = target.desired(release.service).confirmed
    first, *others = target.waves()
    with _recorded(environment, release, watch), watch.step(Step.deploy):
        environment.registry.keep(release.image, f"{RELEASED}{release.environment}-{release.number}")
        environment.bring_image(release.image)
        generation = first.propose(release, key_sha256)
    trial = Trial(first, release, generation)
    with _recorded(environment, release, watch), _reverting(environment, release, generation, former):
        results = try_out(trial, checks, token, bake, watch, canary_for=environment if former else None)
        keep = Renewal(target, release.service, generation, target.window(release))
        for wave in others:
            with watch.step(Step.deploy):
                wave.propose(release, key_sha256)
            try_out(replace(trial, target=wave, keep=keep), checks, token, bake, watch)
        with watch.step(Step.confirm):  # all at once: until now every node takes it back by itself
            confirm(replace(trial, target=target))
        confirmed()
    return Deployed(release, target.url(release.public_port, release.host), results, watch.seconds)


def try_out(
    trial: Trial,
    checks: list[SmokeCheck],
    token: str,
    bake: float,
    watch: Stopwatch,
    *,
    canary_for: Environment | None = None,
) -> list[CheckResult]:
    """Start it beside the old one, test it, give it the traffic, test it again, watch it. Raises Problem."""
    with watch.step(Step.start):
        start(trial)
    with watch.step(Step.smoke_test):
        results = smoke_test(trial, checks, token)
    if canary_for is not None and trial.release.rollout is not None:
        with watch.step(Step.canary):
            canary(trial, trial.release.rollout, canary_for.rules.notify)
    with watch.step(Step.switch):
        switch(trial)
    with watch.step(Step.smoke_test_after):
        smoke_test.with_options(task_run_name="smoke test after")(trial, checks, None)
    with watch.step(Step.bake):
        watch_it(trial, bake)
    return results


def public_port(environment: Environment, service: str, run: Run) -> int:
    """Where the service is found at the environment's edges. Raises Refused: it is another's."""
    hosts, tls = run.names(environment.name), bool(run.certificate(environment.name))
    return environment.target.service_port(service, run.public_port, hosts, tls=tls)


def settle_open_claims(environment: Environment, service: str) -> None:
    """Take back what is left on trial, and give a dead controller's claims the outcome that the node shows.

    Only for who holds the turn: nobody else is deploying.
    """
    ledger = environment.ledger(service)
    unsettled, wanted = ledger.unsettled(), environment.target.desired(service)
    if not unsettled and wanted.candidate is None:  # a run that ends while it proposes leaves one on trial
        return
    live = ledger.live()
    if wanted.candidate is not None:
        _take_back(environment, service, wanted.generation, None)
    elif wanted.generation in environment.target.status(service).reverted:  # confirmed too late
        _put_back(environment, service, wanted.generation, live.release if live else None)
    else:
        _at_rest(environment, service, wanted.generation)
    status = environment.target.status(service)
    for release in unsettled:
        verdict = Verdict.confirmed if status.confirmed == release.number else Verdict.reverted
        reason = "settled by a later run: the run that made this release ended before it had a verdict"
        _record(environment, release, verdict, reason, status.live, {})
        if verdict is Verdict.reverted:
            title = (
                f"Taken back: release {release.number} ({release.version}) of {service} in {environment.name}"
            )
            tell(environment.rules.notify, title, f"{reason}; {_said_of_live(status)}")


@task(task_run_name="start", cache_policy=NO_CACHE)
def start(trial: Trial) -> None:
    """Wait until the nodes have image and model, the candidate is ready, and marked requests reach it."""
    fetch = FETCH_LIMIT if trial.release.model_sha256 else 0
    await_node(trial, _is(Phase.verify), PULL_LIMIT + fetch + trial.release.run.health.timeout)


@task(task_run_name="smoke test", cache_policy=NO_CACHE)
def smoke_test(trial: Trial, checks: list[SmokeCheck], token: str | None) -> list[CheckResult]:
    """Ask from outside: with the token the candidate, without it whoever serves users."""
    urls = trial.target.urls(trial.release.public_port)
    return run_checks_on_each(checks, urls, trial.release.number, token, trial.go_on, trial.release.host)


@task(task_run_name="switch", cache_policy=NO_CACHE)
def switch(trial: Trial) -> None:
    """Give the candidate all traffic; the old one stays warm."""
    trial.target.shift(trial.release.service, trial.generation, WHOLE)
    # after a canary the phase alone says nothing
    await_node(trial, lambda status: status.phase is Phase.bake and status.traffic == WHOLE, NODE_SLACK)


@task(task_run_name="bake", cache_policy=NO_CACHE)
def watch_it(trial: Trial, seconds: float) -> None:
    """Watch the node for as long as asked; a controller that dies meanwhile renews no window."""
    ends = time.monotonic() + seconds
    await_node(baking(trial, seconds), lambda _: time.monotonic() >= ends, seconds + NODE_SLACK)


@task(task_run_name="confirm", cache_policy=NO_CACHE)
def confirm(trial: Trial) -> None:
    """Make it the release that the node keeps, and wait until the node says so."""
    trial.target.confirm(trial.release.service, trial.generation)
    await_node(trial, lambda status: status.confirmed_generation == trial.generation, NODE_SLACK)


def _is(phase: Phase) -> Callable[[ServiceStatus], bool]:
    return lambda status: status.phase is phase


@contextmanager
def _reverting(
    environment: Environment, release: Release, generation: int, former: Release | None
) -> Iterator[None]:
    """Whatever ends the block early (a failure, a cancel, a signal) takes the release back."""
    try:
        yield
    except BaseException as error:
        _take_back(environment, release.service, generation, former)
        if isinstance(error, Problem):
            status = _status_now(environment, release.service)
            error.what = f"release {release.number} was taken back: {error.what}; {_said_of_live(status)}"
            error.got = _with_last_lines(error.got, status, generation)
            error.next_step = error.next_step or logs_command(release.service, environment.name)
        raise


def _with_last_lines(got: str, status: ServiceStatus | None, generation: int) -> str:
    """What came, and the candidate's last lines: its container is gone now."""
    failure = status.reverted.get(generation) if status else None
    if failure is None or not failure.log_tail or failure.log_tail[-1] in got:
        return got
    return "\n       ".join(filter(None, [got, "its last lines:", *failure.log_tail]))


def _take_back(environment: Environment, service: str, generation: int, former: Release | None) -> None:
    """What the generation has brought is neither wanted nor live any more, as far as the nodes answer."""
    target = environment.target
    try:
        wanted = target.desired(service)
        if wanted.generation == generation and wanted.candidate is not None:
            _at_rest(environment, service, target.revert(service, generation))
        elif wanted.generation == generation:  # confirmed, but the node did not say so
            _put_back(environment, service, generation, former)
    except Problem as problem:
        # The node takes an unconfirmed release back by itself at the end of its window.
        get_run_logger().warning("the revert could not be asked for: %s", problem)


def _status_now(environment: Environment, service: str) -> ServiceStatus | None:
    """None where no node answers: that must not hide what went wrong."""
    try:
        return environment.target.status(service)
    except Problem as problem:
        get_run_logger().warning("what is live now is not known: %s", problem)
        return None


def _said_of_live(status: ServiceStatus | None) -> str:
    if status is None:
        return "what is live now is not known, no node answers"
    return f"release {status.live} is live" if status.live else "nothing is live"


def _put_back(environment: Environment, service: str, generation: int, former: Release | None) -> None:
    _at_rest(environment, service, environment.target.put_back(service, generation, former))


def _at_rest(environment: Environment, service: str, generation: int) -> None:
    """Wait until the node has done what the generation says. Raises Unreachable."""
    rest = {Phase.live, Phase.drain, Phase.idle, Phase.reverted}
    environment.target.wait_for(service, generation, lambda status: status.phase in rest, NODE_SLACK)


@contextmanager
def _recorded(environment: Environment, release: Release, watch: Stopwatch) -> Iterator[None]:
    """Write the outcome, good or bad, once."""
    try:
        yield
    except BaseException as error:
        switched = bool({Step.canary, Step.switch} & set(watch.seconds))
        verdict = Verdict.reverted if switched else Verdict.failed
        status = _status_now(environment, release.service)
        live = status.live if status else None
        reason = str(error) or type(error).__name__
        try:
            _record(environment, release, verdict, reason, live, watch.seconds)
        except Problem as problem:  # that must not hide what went wrong, and the next run settles the claim
            get_run_logger().warning("the outcome is not recorded yet: %s", problem)
        raise
    if Step.confirm in watch.seconds:
        _record(environment, release, Verdict.confirmed, "", release.number, watch.seconds)


def _record(
    environment: Environment,
    release: Release,
    verdict: Verdict,
    reason: str,
    live: int | None,
    seconds: dict[str, float],
) -> None:
    outcome = Outcome(
        number=release.number,
        verdict=verdict,
        reason=reason,
        live=live,
        at=datetime.now(UTC),
        seconds=seconds,
    )
    environment.ledger(release.service).settle(outcome)
