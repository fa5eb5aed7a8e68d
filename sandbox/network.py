"""The VMs' own addresses: a metadata server listens on each, as long as its VM runs."""

import asyncio
import functools
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from sandbox.compute.instance import Instance

BACKLOG = 128


@dataclass
class Network:
    """One uvicorn server, whose one app learns from the local address which VM is asking."""

    server: uvicorn.Server | None = None
    api: str = ""  # where the APIs are: Cloud Storage's clients follow its links
    port: int = 0
    vms: dict[str, "Instance"] = field(default_factory=dict)
    listeners: dict[str, socket.socket] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def plug_in(self, vm: "Instance") -> None:
        """Open the VM's metadata server; from here on connections are taken."""
        if not self.server or vm.address in self.listeners:
            return
        listener = listen(vm.address, self.port)
        self.vms[vm.address] = vm
        # The first one finds a port that is free; the others use the same on their addresses.
        self.port = listener.getsockname()[1]
        self.listeners[vm.address] = listener
        task = asyncio.get_running_loop().create_task(self._serve(listener))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

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
        self.vms.pop(vm.address, None)
        listener = self.listeners.pop(vm.address, None)
        if not listener or not self.server:
            return
        for server in list(self.server.servers):
            if any(one.getsockname()[0] == vm.address for one in server.sockets):
                server.close()
                self.server.servers.remove(server)
        for connection in list(self.server.server_state.connections):
            if (getattr(connection, "server", None) or ("",))[0] == vm.address:
                connection.transport.abort()


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
