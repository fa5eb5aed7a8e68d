"""What a VM with Google's container startup agent does at boot: runs what the declaration says, once."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

from bench.agents import Agents
from sandbox.compute.instance import Instance


class Boots:
    """A machine that boots whichever agent the VM's metadata asks for."""

    def __init__(self, agents: Agents) -> None:
        self.agents = agents
        self.old: dict[str, ThreadingHTTPServer] = {}
        self.boots: list[str] = []
        self.broken: set[str] = set()  # images that do not start

    def power_on(self, vm: Instance) -> None:
        self.boots.append(vm.name)
        if "user-data" in vm.metadata():
            self.agents.power_on(vm)
        text = vm.metadata().get("gce-container-declaration")
        if text:
            image = yaml.safe_load(text)["spec"]["containers"][0]["image"]
            if image not in self.broken:
                self.old[vm.name] = serve(vm.address, self.agents.port, lambda: image)

    def power_off(self, vm: Instance) -> None:
        self.agents.power_off(vm)
        server = self.old.pop(vm.name, None)
        if server:
            server.shutdown()
            server.server_close()

    def discard(self, vm: Instance) -> None:
        self.power_off(vm)


def serve(address: str, port: int, said: Callable[[], str]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(said().encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer((address, port), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server
