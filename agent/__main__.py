"""`python -m agent`: the program on a node."""

import argparse
import threading
import time
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from docker.errors import DockerException
from pydantic import ValidationError

from agent.edge import Edge, EdgeError
from agent.engine import PREFIX, Engine
from agent.images import Images
from agent.kept import Kept
from agent.logs.containers import Containers
from agent.logs.folder import Folder
from agent.logs.follower import LogFollower
from agent.memory import Disk, write
from agent.model_files import FolderFiles, ModelFiles
from agent.models import Models, remove
from agent.swapper import Node, Swapper
from releases.desired import FORMAT, Desired, ServiceDesired
from releases.release import Release
from releases.status import STATUS_PATH, NodeStatus, ServiceStatus

STATUS_PORT = 9180
POLL_SECONDS = 0.03
RETRY_SECONDS = 2.0
CONTAINERS = Path("/containers")
STORE = Path("/store")
MODELS = Path("/models")  # mounted from the host's --models


class Agent:
    """Watches what is desired, runs one swapper per service, reports."""

    def __init__(
        self, node: str, folder: Path, engine: Engine, edge: Edge, disk: Disk, files: ModelFiles
    ) -> None:
        self.folder = folder
        images = Kept(disk, "images", self.needed_images, engine.remove_image)
        kept = Kept(disk, "models", self.needed_models, partial(remove, MODELS))

        def make_room() -> int:
            return kept.free() + images.free()

        models = Models(MODELS, files, kept, make_room)
        self.shared = Node(engine, edge, disk, Images(engine, images, make_room), models)
        self.desired = Desired()
        self.status = NodeStatus(node=node, agent="1", at=datetime.now(UTC))
        self.swappers: dict[str, Swapper] = {}
        self.lock = threading.Lock()
        self.read: tuple[int, int] = (0, 0)

    def watch(self) -> None:
        """Read the document whenever it is another file; what cannot be read changes nothing."""
        while True:
            self.look()
            time.sleep(POLL_SECONDS)

    def look(self) -> None:
        """Read the document if it has changed, and wake whom it concerns."""
        path = self.folder / "desired.json"
        try:
            stat = path.stat()
            if (stat.st_ino, stat.st_mtime_ns) == self.read:
                return
            desired = Desired.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return
        except (ValidationError, OSError) as error:
            self._problem(f"the desired state cannot be read: {str(error)[:300]}")
            return
        self.read = (stat.st_ino, stat.st_mtime_ns)
        if desired.format > FORMAT:
            self._problem(f"the desired state has format {desired.format}; this agent knows {FORMAT}")
            return
        self.desired = desired
        self._problem("")
        for service in set(desired.services) | self.shared.disk.services():
            self._swapper(service).wake.set()

    def _swapper(self, service: str) -> Swapper:
        if service not in self.swappers:
            swapper = Swapper(service, self.shared, lambda: self.wanted(service), self.report)
            if swapper.memory.confirmed is not None or swapper.memory.trial is not None:
                self.shared.edge.remember(swapper.at_the_edge(self.wanted(service)))
            self.swappers[service] = swapper
            threading.Thread(target=swapper.run, name=service, daemon=True).start()
        return self.swappers[service]

    def wanted(self, service: str) -> ServiceDesired:
        """What the document says now."""
        return self.desired.of(service)

    def needed_images(self) -> set[str]:
        """The images that are live, confirmed or on trial; the engine keeps those that a container has."""
        return {release.image for release in self._needed()}

    def needed_models(self) -> set[str]:
        """The models that are live, confirmed, on trial, or mounted into any container."""
        return {release.model_sha256 for release in self._needed()} | self.shared.engine.models_in_use()

    def _needed(self) -> list[Release]:
        wanted = list(self.desired.services.values())
        releases = [one.confirmed for one in wanted] + [
            swapper.memory.confirmed for swapper in self.swappers.values()
        ]
        releases += [one.candidate.release for one in wanted if one.candidate]
        return [release for release in releases if release is not None]

    def report(self, service: str, status: ServiceStatus) -> None:
        """Take a service's status and publish the whole, if anything is new."""
        with self.lock:
            if self.status.services.get(service) == status:
                return
            services = {**self.status.services, service: status}
            self._publish(self.status.model_copy(update={"services": services}))

    def _problem(self, text: str) -> None:
        with self.lock:
            if self.status.problem != text:
                self._publish(self.status.model_copy(update={"problem": text}))

    def _publish(self, status: NodeStatus) -> None:
        self.status = status.model_copy(update={"at": datetime.now(UTC)})
        write(self.folder / "status.json", self.status.model_dump_json().encode())

    def listen(self) -> None:
        """Wake a service when one of its containers comes or goes."""
        while True:
            try:
                filters = {"type": "container", "event": ["die", "start"], "label": f"{PREFIX}.service"}
                for event in self.shared.engine.client.events(decode=True, filters=filters):
                    service = event["Actor"]["Attributes"].get(f"{PREFIX}.service")
                    if service in self.swappers:
                        self.swappers[service].wake.set()
            except (DockerException, OSError):
                pass
            time.sleep(RETRY_SECONDS)


def serve(agent: Agent) -> None:
    """Answer `/_model-deploy/status`; only the edge reaches this port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            known = self.path == STATUS_PATH
            body = agent.status.model_dump_json().encode() if known else b"{}"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """Say nothing: it is asked many times a second during a release."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that went away is no news."""

    Server(("", STATUS_PORT), Handler).serve_forever()


def follow_logs(engine: Engine) -> None:
    """Follow the containers' log files, where the engine's folder and the store are mounted."""
    if CONTAINERS.exists() and STORE.exists():
        logs = LogFollower(CONTAINERS, Path("/state/logs"), Containers(engine), Folder(STORE))
        engine.before_removal = logs.before_removal
        logs.start()


def main() -> None:
    """Run until killed; whatever serves goes on serving."""
    parser = argparse.ArgumentParser(prog="agent", description="Swaps this node's service containers.")
    parser.add_argument("--node", required=True, help="the node's name, a prefix of everything it owns")
    parser.add_argument("--ports", required=True, help="the edge's ports; the first is the node's own")
    parser.add_argument("--edge-image", default="model-deploy/haproxy:local")
    parser.add_argument(
        "--models",
        default="/var/lib/model-deploy/models",
        help=f"the host's folder that is mounted at {MODELS}",
    )
    given = parser.parse_args()
    engine = Engine(given.node, given.node, secrets=Path("/secrets"), models=Path(given.models))
    edge = Edge(engine, given.edge_image, [int(port) for port in given.ports.split(",")])
    follow_logs(engine)
    agent = Agent(given.node, Path("/node"), engine, edge, Disk(Path("/state")), FolderFiles(STORE))
    threading.Thread(target=serve, args=[agent], daemon=True).start()
    agent.look()
    while True:
        try:
            edge.ensure()
            break
        except (EdgeError, DockerException, OSError) as error:
            print(f"the edge is not up: {error}", flush=True)  # noqa: T201 - the container's log
            time.sleep(RETRY_SECONDS)
    threading.Thread(target=agent.listen, daemon=True).start()
    agent.watch()


if __name__ == "__main__":
    main()
