"""Runs everything in one event loop: in a thread of a test, or as a program."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from sandbox import api
from sandbox.compute.instance import throw_away
from sandbox.faults import Faulty
from sandbox.network import listen
from sandbox.world import World

START_SECONDS = 15.0
END_SECONDS = 120.0  # machines are switched off and thrown away
CLOSING_SECONDS = 2
IDLE_SECONDS = 75  # uvicorn's 5 close connections that busy clients are about to use again
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Addresses:
    """Where to find it, and a token of the project's owner."""

    project: str
    api: str
    token: str


def _server(app: ASGIApp) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http="h11",
        lifespan="off",
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )
    config.load()
    return _Quiet(config)


class _Quiet(uvicorn.Server):
    """Leaves the process's signals alone; who started it stops it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None."""
        yield


async def serve(
    world: World,
    port: int,
    ready: Callable[[Addresses], None],
    stop: asyncio.Event,
    wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> None:
    """Serve until told to stop. `wrap` lets a test look at what goes in and out of the APIs."""
    listener = listen(HOST, port)
    apis = wrap(api.cloud(world))
    cloud = _server(Faulty(apis, world))
    metadata = _server(api.metadata(world, apis))
    # Never told to serve: it lends its protocol and its state to the listeners of the VMs.
    metadata.lifespan = metadata.config.lifespan_class(metadata.config)
    metadata.servers = []
    world.network.server = metadata
    world.network.port = world.settings.metadata_port
    world.network.inside = world.settings.inside
    token = world.identities.issue(world.settings.owner, float("inf"))
    serving = asyncio.create_task(cloud.serve([listener]))
    address = f"http://{HOST}:{listener.getsockname()[1]}"
    world.network.api = address
    ready(Addresses(world.settings.project, address, token))
    await stop.wait()
    cloud.should_exit = True
    vms = list(world.instances.values())
    for vm in vms:
        await world.network.unplug(vm)
    await asyncio.gather(*(throw_away(world, vm) for vm in vms))
    await serving


@contextmanager
def running(
    world: World, port: int = 0, wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app
) -> Iterator[Addresses]:
    """The sandbox in a thread, up at the start of the block and gone at its end."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    up = threading.Event()
    found: list[Addresses] = []

    def ready(addresses: Addresses) -> None:
        found.append(addresses)
        up.set()

    def run() -> None:
        try:
            loop.run_until_complete(serve(world, port, ready, stop, wrap))
        finally:
            up.set()
            loop.close()

    thread = threading.Thread(target=run, name="sandbox", daemon=True)
    thread.start()
    up.wait(START_SECONDS)
    if not found:
        raise RuntimeError(f"the sandbox did not start on port {port}")
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(END_SECONDS)
