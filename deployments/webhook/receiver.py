"""`POST /webhooks/github`: from a request to a checked, decided and stored push."""

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from deployments.webhook import openapi
from deployments.webhook.answer import Answer, Health, Refused, StartedRun, retry_later
from deployments.webhook.inbox import NotKept
from deployments.webhook.log import Delivery
from deployments.webhook.order import Order
from deployments.webhook.payload import PAYLOADS, NotJson, NotTheEvent, read_payload
from deployments.webhook.prefect_api import Setup
from deployments.webhook.queue import Full, RunQueue, Stored
from deployments.webhook.signature import is_signed
from releases import pull_request, trigger
from releases.pull_request import Check, Checks, PullRequest
from releases.trigger import Decision, Push, Start

MAX_BODY = 25 * 2**20  # GitHub's own limit
MAX_HELD = 10 * MAX_BODY  # bodies of all requests together
READ_SECONDS = 5.0
ANSWER_SECONDS = 9.0  # GitHub hangs up after 10
# How long an answer waits for its run, to name it: what is kept is stored either way.
ALONE_SECONDS = 3.0  # with READ_SECONDS less than ANSWER_SECONDS
CROWD_SECONDS = 0.2
CROWD = 4  # runs that wait
IGNORED = {
    "release": "a release starts nothing by itself: its tag comes as a push",
    "create": "what was created comes as a push",
}
EVENT = re.compile(r"[a-z0-9_]{1,64}")
REMEMBERED = 10_000
REDELIVER = "redeliver it: reconcile starts what pushes ask for, and no checks"
DELIVERY = re.compile(r"[0-9A-Za-z-]{1,64}")


@dataclass(frozen=True)
class Limits:
    """How much and how long; the tests' are smaller."""

    body: int = MAX_BODY
    held: int = MAX_HELD
    read: float = READ_SECONDS
    answer: float = ANSWER_SECONDS
    alone: float = ALONE_SECONDS
    crowd: float = CROWD_SECONDS


Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def make_app(
    setup: Callable[[], Setup | None],
    queue: RunQueue,
    lifespan: Lifespan | None = None,
    limits: Limits = Limits(),
) -> FastAPI:
    """Build the receiver; `setup` gives what Prefect last said, None while it has said nothing lately."""
    app = FastAPI(title="model-deploy webhook", docs_url=None, redoc_url=None, lifespan=lifespan)
    receiver = Receiver(setup, queue, limits)

    @app.post("/webhooks/github", **openapi.DELIVERY)
    async def github(request: Request) -> JSONResponse:
        """Take a delivery from GitHub."""
        delivery = Delivery(request.headers.get("x-github-event"), request.headers.get("x-github-delivery"))
        try:
            async with asyncio.timeout(limits.answer):
                status, answer = await receiver.receive(request, delivery)
        except TimeoutError:
            status, answer = retry_later("no answer in time; what was kept meanwhile is stored all the same")
        except Refused as refused:
            status, answer = refused.status, Answer(status="refused", reason=refused.reason)
        if status == HTTPStatus.SERVICE_UNAVAILABLE and delivery.event == "pull_request":
            answer = answer.model_copy(update={"reason": f"{answer.reason}; {REDELIVER}"})
        delivery.log(status, answer)
        headers = {"Retry-After": "10"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
        return JSONResponse(answer.model_dump(mode="json"), status, headers)

    @app.get("/healthz", **openapi.HEALTH)
    async def healthz() -> JSONResponse:
        """Whether deliveries are taken."""
        why = _not_ready(setup(), queue)
        health = Health(ready=not why, reason=why, waiting=queue.waiting)
        return JSONResponse(health.model_dump(), HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK)

    openapi.describe(app)
    return app


def _not_ready(setup: Setup | None, queue: RunQueue) -> str:
    if setup is None:
        return "Prefect does not answer"
    return queue.trouble if setup.secrets else "no webhook secret"


class Receiver:
    """The checks, in their order. Nothing is parsed before the signature was found right."""

    def __init__(self, setup: Callable[[], Setup | None], queue: RunQueue, limits: Limits) -> None:
        self._setup, self._queue, self._limits = setup, queue, limits
        self._held = 0
        self._seen: OrderedDict[bytes, str] = OrderedDict()

    async def receive(self, request: Request, delivery: Delivery) -> tuple[HTTPStatus, Answer]:
        """Answer one delivery. Raises Refused."""
        event, identity = self._headers(request)
        setup = self._setup()
        if setup is None:
            return retry_later("Prefect does not answer")
        if not setup.secrets:
            return retry_later("no webhook secret is set; next: model-deploy github connect")
        body = bytearray()
        try:
            await self._fill(body, request)
            signature = request.headers.get("x-hub-signature-256", "")
            if not is_signed(bytes(body), signature, setup.secrets):
                raise Refused(HTTPStatus.UNAUTHORIZED, "the signature is missing or wrong")
            return await self._act(event, identity, bytes(body), setup, delivery)
        finally:
            self._held -= len(body)

    def _headers(self, request: Request) -> tuple[str, str]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refused(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the hook's content type must be application/json"
            )
        event = request.headers.get("x-github-event", "")
        identity = request.headers.get("x-github-delivery", "")
        if not EVENT.fullmatch(event):
            raise Refused(HTTPStatus.BAD_REQUEST, "X-GitHub-Event is missing or is no event")
        if not DELIVERY.fullmatch(identity):
            raise Refused(HTTPStatus.BAD_REQUEST, "X-GitHub-Delivery is missing or is no id")
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._limits.body:
            raise self._too_large()
        return event, identity

    async def _fill(self, body: bytearray, request: Request) -> None:
        """Read the body; counted as it comes, since its length may be left out or wrong."""
        try:
            async with asyncio.timeout(self._limits.read):
                async for chunk in request.stream():
                    body += chunk
                    self._held += len(chunk)
                    if len(body) > self._limits.body:
                        raise self._too_large()
                    if self._held > self._limits.held:
                        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many large deliveries at once")
        except TimeoutError:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, "the body does not arrive") from None
        except ClientDisconnect:
            raise Refused(HTTPStatus.BAD_REQUEST, "the sender hung up") from None

    def _too_large(self) -> Refused:
        return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {self._limits.body} bytes")

    async def _act(
        self, event: str, identity: str, body: bytes, setup: Setup, delivery: Delivery
    ) -> tuple[HTTPStatus, Answer]:
        if event == "ping":
            return HTTPStatus.OK, Answer(status="pong")
        if event not in PAYLOADS:
            why = IGNORED.get(event, f"the event {event} starts nothing")
            return HTTPStatus.OK, Answer(status="ignored", reason=why)
        try:
            said = read_payload(event, body)
        except NotJson as error:
            raise Refused(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from None
        except NotTheEvent as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"the body is no {event}: {error}") from None
        delivery.concerns(said)
        identity = self._first_seen_as(body, identity)
        decision: Checks | Decision = (
            pull_request.decide(said, setup.rules)
            if isinstance(said, PullRequest)
            else trigger.decide(said, setup.rules)
        )
        if not decision.starts:
            return HTTPStatus.OK, Answer(status="ignored", reason=decision.ignored)
        try:
            stored = await self._queue.take(_orders(decision.starts, identity, said), self._patience())
        except Full as error:
            return retry_later(str(error))
        except NotKept as error:
            return retry_later(f"the delivery cannot be kept: {error}")
        return HTTPStatus.ACCEPTED, _accepted(decision.starts, stored)

    def _patience(self) -> float:
        return self._limits.crowd if self._queue.fresh >= CROWD else self._limits.alone

    def _first_seen_as(self, body: bytes, identity: str) -> str:
        """The delivery that brought this body first.

        The signature does not cover the delivery's id: a recorded delivery, sent again under another, must
        start nothing either. No two pushes have the same body: it says when the push was.
        """
        first = self._seen.setdefault(hashlib.sha256(body).digest(), identity)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return first


def _orders(starts: Sequence[Start | Check], delivery: str, said: Push | PullRequest) -> list[Order]:
    before = said.before if isinstance(said, Push) else ""
    return [Order(start, delivery, before) for start in starts]


def _accepted(starts: Sequence[Start | Check], stored: Sequence[Stored | None]) -> Answer:
    names = [f"{start.service} in {start.environment}" for start in starts]
    each = list(zip(starts, names, stored, strict=True))
    runs = [
        StartedRun(service=start.service, environment=start.environment, flow_run=one.run)
        for start, _, one in each
        if one
    ]
    later = ", ".join(name for _, name, one in each if one and one.covers)
    kept = ", ".join(name for _, name, one in each if not one)
    reasons = [
        f"a later push came on top of this one; its run releases both: {later}" if later else "",
        f"kept on disk until Prefect has stored the run: {kept}" if kept else "",
    ]
    return Answer(status="accepted", reason="; ".join(filter(None, reasons)), runs=runs)
