"""`python -m sandbox`: a Google Cloud on this machine, until interrupted."""

import argparse
import asyncio
import dataclasses
import json
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from sandbox.boot import ContainerMachine, gateway
from sandbox.boot.engine import EngineError
from sandbox.server import Addresses, serve
from sandbox.world import Settings, World


def main() -> int:
    """Say in one line of JSON where everything is, then serve."""
    parser = argparse.ArgumentParser(prog="sandbox", description="A Google Cloud on this machine.")
    parser.add_argument(
        "--port", type=int, default=0, help="of the APIs, at 127.0.0.1; any free one if not given"
    )
    parser.add_argument(
        "--metadata-port", type=int, default=0, help="of the VMs' metadata servers, the same on all"
    )
    parser.add_argument("--project", default=Settings.project, help="the project that is there at the start")
    parser.add_argument(
        "--machines", action="store_true", help="VMs boot what their user-data says, on the container engine"
    )
    parser.add_argument(
        "--registry", default="", help="HOST:PORT of a plain OCI registry, to be Artifact Registry before"
    )
    given = parser.parse_args()
    settings = Settings(project=given.project, metadata_port=given.metadata_port, registry=given.registry)
    try:
        if given.machines:
            with TemporaryDirectory(prefix="sandbox-") as folder:
                settings = dataclasses.replace(settings, inside=gateway())
                asyncio.run(_run(World(settings, ContainerMachine(Path(folder))), given.port))
        else:
            asyncio.run(_run(World(settings), given.port))
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        print("  next: docker info", file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        print(f"error: the sandbox cannot listen: {error.strerror or error}", file=sys.stderr)  # noqa: T201
        print("  next: leave --port out, or give one that is free", file=sys.stderr)  # noqa: T201
        return 1
    return 0


async def _run(world: World, port: int) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)

    def ready(addresses: Addresses) -> None:
        print(json.dumps(dataclasses.asdict(addresses)), flush=True)  # noqa: T201 - what it is started for

    await serve(world, port, ready, stop)


if __name__ == "__main__":
    sys.exit(main())
