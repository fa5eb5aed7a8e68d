"""The receiver as a process: its rules kept fresh, its queue worked off."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from fastapi import FastAPI
from prefect.client.orchestration import PrefectClient, get_client

from deployments.machine.home import Home
from deployments.webhook.inbox import Inbox
from deployments.webhook.log import LOGGER, log_trouble
from deployments.webhook.prefect_api import RunStore, Setup, read_setup
from deployments.webhook.queue import RunQueue
from deployments.webhook.receiver import make_app

FRESH_SECONDS = 2.0  # so that the ping after `github connect` finds its secret known
READ_SECONDS = 8.0
STALE_SECONDS = 60.0


class Fresh:
    """What Prefect last said, forgotten when it has said nothing for a minute."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._setup: Setup | None = None
        self._at = 0.0

    def __call__(self) -> Setup | None:
        """What pushes start now."""
        return self._setup if time.monotonic() - self._at < STALE_SECONDS else None

    async def keep(self) -> None:
        """Read again and again, until cancelled."""
        while True:
            await self.read()
            await asyncio.sleep(FRESH_SECONDS if self._setup else 1)

    async def read(self) -> None:
        """Read once; what was read before stays where Prefect does not answer."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                self._setup = await read_setup(self._client)
            self._at = time.monotonic()
        except Exception as error:  # noqa: BLE001 - it is tried again; deliveries say that Prefect is away
            log_trouble("rules not read", type(error).__name__)


def make_service() -> FastAPI:
    """The app with everything that runs beside it."""
    client = get_client()
    fresh = Fresh(client)
    queue = RunQueue(RunStore(client), Inbox(Home().path / "webhook" / "inbox.db"))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with client:
            await fresh.read()
            tasks = [asyncio.create_task(fresh.keep()), asyncio.create_task(queue.work())]
            yield
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    return make_app(fresh, queue, lifespan)


def serve(host: str, port: int) -> None:
    """Run until SIGTERM; deliveries that are being answered are answered first."""
    lines = logging.StreamHandler(sys.stdout)
    LOGGER.addHandler(lines)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    uvicorn.run(make_service(), host=host, port=port, log_config=None, access_log=False, server_header=False)
