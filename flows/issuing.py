"""Certificates by ACME: what an environment's releases want, and the order at the authority that it names."""

import secrets
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.certificate import held, new_key
from blocks.edge import no_challenge
from blocks.environment import Environment
from blocks.secrets import Secrets
from flows.stopwatch import Step, Stopwatch
from releases import acme
from releases.acme import Held, Issuer, Want, Wanted
from releases.ledger import services_in
from releases.problem import Failed, Refused, Unreachable
from releases.release import Release
from releases.secret_reference import SecretReference
from releases.spec import Run

EDGE_SECONDS = 120.0  # an agent on a VM is told at once; one that was just updated loads HAProxy anew
LATEST_SECONDS = 300.0
LOOK_SECONDS = 0.2


def have_certificate(where: Environment, service: str, run: Run, watch: Stopwatch) -> None:
    """Before a release: one that nodes will serve for its names and those live now. Raises Problem.

    One that is there and fit is left as it is: the flow `certificates` renews it in time.
    """
    if run.fetched(where.name):
        with watch.step(Step.certificate):
            _have(where, service, run)


def _have(where: Environment, service: str, run: Run) -> None:
    mine = acme.want(service, run, where.name)
    theirs = (one for one in wants(where, live_releases(where)) if one.secret == mine.secret)
    together = acme.wanted([mine, *theirs])
    (one,) = (one for one in together if one.secret == mine.secret)
    why = acme.unfit(one.names, look(where, one), datetime.now(UTC))
    if why:
        get_run_logger().info("the certificate %s is fetched: %s", one.secret, why)
        fetch(where, one)


def live_releases(where: Environment) -> Iterator[Release]:
    """One of each service that has one."""
    for name in sorted(services_in(where.store, where.name)):
        entry = where.ledger(name).live()
        if entry is not None:
            yield entry.release


def wants(where: Environment, releases: Iterable[Release]) -> Iterator[Want]:
    """What those with a certificate say."""
    yield from (acme.want(one.service, one.run, where.name) for one in releases if one.certificate)


def references(releases: Iterable[Release]) -> Iterator[SecretReference]:
    """The secrets that they name, for their containers and for the edge."""
    for release in releases:
        texts = (release.certificate, *release.run.secrets.values())
        yield from (found for text in texts if (found := SecretReference.parse(text)))


def look(where: Environment, one: Wanted) -> Held | None:
    """What the secret has now, without its key. Raises Problem."""
    return held(where.target.secrets.read(one.secret))


@task(task_run_name="fetch {one.secret}", cache_policy=NO_CACHE, persist_result=False)
def fetch(where: Environment, one: Wanted) -> Held:
    """Order it and put it into its secret, from where nodes take it by themselves. Raises Problem.

    Killed anywhere, it begins again: an account is made once, and an order whose certificate was not written
    is only one more at the authority.
    """
    from blocks.acme import Account, Authority  # noqa: PLC0415 - only where something is fetched

    issuer, vault = issuer_of(where, one), where.target.secrets
    account = Account(vault.once(acme.account_of(where.name), new_key()))
    answer_challenges(where, issuer, account.thumbprint)
    text = Authority(issuer, account).fetch(one.names)
    got = held(text)
    if got is None or acme.unfit(one.names, got, datetime.now(UTC)):
        raise Failed(
            "the certificate authority has issued something else",
            where=issuer.directory,
            expected=f"a certificate for {', '.join(one.names)}",
            got=", ".join(got.names) if got else "no certificate that fits its key",
        )
    vault.add(one.secret, text)
    await_latest(vault, one.secret, text)
    get_run_logger().info("the certificate %s is of %s, until %s", one.secret, got.issuer, got.ends)
    return got


def await_latest(vault: Secrets, secret: str, text: str) -> None:
    """Until nodes, who ask for the latest version, would get this one. Raises Unreachable.

    `latest` may be an older one for minutes: https://cloud.google.com/secret-manager/docs/reference/consistency.
    """
    deadline = time.monotonic() + LATEST_SECONDS
    while vault.read(secret) != text:
        if time.monotonic() > deadline:
            raise Unreachable(
                f"the new version of the secret {secret} is not its latest yet",
                expected=f"within {LATEST_SECONDS:.0f} s",
                next_step="the same again, later: the certificate is there, and is not ordered again",
            )
        time.sleep(LOOK_SECONDS)


def issuer_of(where: Environment, one: Wanted) -> Issuer:
    """Whom the environment names. Raises Refused."""
    if where.acme is None:
        raise Refused(
            f"{where.name} names nobody who issues certificates",
            where=f"environments.{where.name}.acme in the environments' file",
            expected="acme: {contact: ops@example.com}, which is Let's Encrypt",
            got=f"nothing; and `acme: true` in run.hosts of {', '.join(one.services)}",
            next_step="add it, then: model-deploy apply",
        )
    return where.acme


def answer_challenges(where: Environment, issuer: Issuer, thumbprint: str) -> None:
    """Have every node's edge answer for this account, seen from here. Raises Refused, Unreachable."""
    urls = where.target.answer_challenges(thumbprint, issuer.port)
    token, deadline = secrets.token_urlsafe(16), time.monotonic() + EDGE_SECONDS
    while True:
        silent = {url: why for url in urls if (why := no_challenge(url, token, thumbprint))}
        if not silent:
            return
        if time.monotonic() > deadline:
            url = min(silent)
            raise Unreachable(
                f"the edges of {len(silent)} of {len(urls)} nodes do not answer ACME's challenges",
                where=url,
                expected=f"the token and the account's thumbprint, within {EDGE_SECONDS:.0f} s",
                got=silent[url],
                next_step="bring the nodes' agents to this version; then the same again",
            )
        time.sleep(LOOK_SECONDS)
