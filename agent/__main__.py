"""`python -m agent`: the program on a node."""

import argparse
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from docker.errors import DockerException

from agent import status_page
from agent.agent import MODELS, RETRY_SECONDS, Agent
from agent.edge import Edge, EdgeError
from agent.engine import Engine
from agent.haproxy import Ports
from agent.logs.containers import Containers
from agent.logs.follower import LogFollower
from agent.logs.upload import Uploads
from agent.memory import BootClock, Disk
from agent.surroundings import add_vm_arguments, laptop, vm
from agent.traffic import Traffic

CONTAINERS = Path("/containers")
STATE = Path("/state")
SOCKET = Path("/var/run/docker.sock")


def main() -> None:
    """Run until killed; whatever serves goes on serving."""
    given = _arguments()
    around = vm(given) if given.metadata else laptop(given.image)
    engine = Engine(given.node, around.secrets, Path(given.models), around.login, given.gpu_driver)
    edge = Edge(engine, given.edge_image, Ports(given.ports, given.tls_ports), given.listen)
    agent = Agent(given.node, around, engine, edge, Disk(STATE), BootClock(given.boot))
    if CONTAINERS.exists() and around.store is not None:
        follow_logs(engine, around.store, agent.report_logs)
    threading.Thread(target=end_with_the_socket, daemon=True).start()
    threading.Thread(target=status_page.serve, args=[agent.shown_to], daemon=True).start()
    Traffic(given.node, STATE / "traffic", agent.environment, around.store, agent.shared.times).start()
    agent.begin()
    while True:
        try:
            edge.ensure()
            break
        except (EdgeError, DockerException, OSError) as error:
            print(f"the edge is not up: {error}", flush=True)  # noqa: T201 - the container's log
            time.sleep(RETRY_SECONDS)
    threading.Thread(target=agent.listen, daemon=True).start()
    threading.Thread(target=agent.shared.certificates.run, daemon=True).start()
    threading.Thread(target=agent.challenges.run, daemon=True).start()
    agent.watch()


def end_with_the_socket() -> None:
    """End when the engine has made itself another socket: only another start of this container sees that one.

    Without systemd the engine makes one at each of its starts; with `live-restore` containers outlive those.
    """
    while SOCKET.exists() and SOCKET.stat().st_nlink:  # mounted by itself, the old one stays, without a name
        time.sleep(RETRY_SECONDS)
    if SOCKET.exists():
        print("the engine was started anew, and so is the agent", flush=True)  # noqa: T201
        os._exit(1)


def follow_logs(engine: Engine, store: Uploads, report: Callable[[str], None]) -> None:
    """Follow the containers' log files, bring finished segments to the store, report what is in the way."""
    logs = LogFollower(CONTAINERS, STATE / "logs", Containers(engine), store)
    logs.tell = report
    engine.before_removal = logs.before_removal
    logs.start()


def _ports(text: str) -> tuple[int, ...]:
    return tuple(int(port) for port in text.split(","))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="agent", description="Swaps this node's service containers.")
    parser.add_argument("--node", required=True, help="the node's name, a prefix of everything it owns")
    parser.add_argument("--ports", required=True, type=_ports, help="the edge's; the first is the node's own")
    parser.add_argument("--tls-ports", default=(), type=_ports, help="where TLS ends")
    parser.add_argument("--edge-image", default="model-deploy/haproxy:local")
    parser.add_argument("--listen", default="127.0.0.1", help="the edge's address")
    parser.add_argument("--boot", default="", help="which boot this is; the kernel's own id if not given")
    parser.add_argument(
        "--models", default=str(MODELS), help=f"the host's folder that is mounted at {MODELS}"
    )
    parser.add_argument("--image", default="", help="the agent's own, which its status names")
    parser.add_argument(
        "--gpu-driver", default="", help="the host's folder with it, without NVIDIA's container toolkit"
    )
    add_vm_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
