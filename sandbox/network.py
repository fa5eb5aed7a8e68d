"""The VMs' own addresses: a metadata server listens on each, as long as its VM runs.

A container on a bridge reaches no loopback address of its host. Where VMs run containers there is a second
listener for each, at an address that containers reach, and there the APIs answer as well.
"""

import asyncio
import functools
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from sandbox.compute.instance import Instance

BACKLOG = 128
Address = tuple[str, int]


@dataclass
class Network:
    """One uvicorn server, whose one app learns from the local address which VM is asking."""

    server: uvicorn.Server | None = None
    api: str = ""  # where the APIs are: Cloud Storage's clients follow its links
    port: int = 0
    inside: str = ""  # an address that containers reach; none: VMs run no containers
    vms: dict[Address, "Instance"] = field(default_factory=dict)
    listeners: dict[Address, socket.socket] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def plug_in(self, vm: "Instance") -> None:
        """Open the VM's metadata server; from here on connections are taken."""
        if not self.server or any(one is vm for one in self.vms.values()):
            return
        # The first one finds a port that is free; the others use the same on their addresses.
        self.port = self._open(vm, vm.address, self.port)
        if self.inside:
            vm.inside = f"{self.inside}:{self._open(vm, self.inside, 0)}"

    def _open(self, vm: "Instance", address: str, port: int) -> int:
        listener = listen(address, port)
        at = listener.getsockname()
        self.vms[at], self.listeners[at] = vm, listener
        task = asyncio.get_running_loop().create_task(self._serve(listener))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return int(at[1])

    async def _serve(self, listener: socket.socket) -> None:
        # What uvicorn does at its start, once for each address: it has no call for later ones.
        server = self.server
        assert server  # noqa: S101 - plug_in has looked
        protocol: Any = server.config.http_protocol_class
        make = functools.partial(
            protocol, config=server.config, server_state=server.server_state, app_state=server.lifespan.state
        )
        listening = await asyncio.get_running_loop().create_server(make, sock=listener)
        server.servers.append(listening)

    async def unplug(self, vm: "Instance") -> None:
        """Close the VM's metadata server and cut whoever is connected."""
        mine = {at for at, one in self.vms.items() if one is vm}
        for at in mine:
            del self.vms[at], self.listeners[at]
        if not mine or not self.server:
            return
        for server in list(self.server.servers):
            if any(one.getsockname() in mine for one in server.sockets):
                server.close()
                self.server.servers.remove(server)
        for connection in list(self.server.server_state.connections):
            if getattr(connection, "server", None) in mine:
                connection.transport.abort()
        vm.tell()  # whoever waits for a change hears that nobody waits for the answer


def listen(address: str, port: int) -> socket.socket:
    """A listening socket on the address; port 0 takes any that is free."""
    # Said in so many words, or asyncio does not set TCP_NODELAY, and each answer takes 40 ms more (measured).
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
