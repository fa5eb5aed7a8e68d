"""The home of the local environment: a directory, and what was chosen once on this machine."""

import json
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blocks.home_folder import home_folder
from releases.problem import BadInput

EDGE_PORTS = 8
LOCAL = "local"  # the environment that a machine always has
SHIPPED = Path(__file__).parent.parent / "environments.yaml"
RECEIVER_PORT = 4280  # what a TLS proxy in front is told, so the same everywhere where it is free


class Chosen(BaseModel):
    """Chosen once and remembered: digests and addresses are recorded with them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node: str
    registry_port: int
    prefect_port: int
    receiver_port: int = RECEIVER_PORT
    edge_ports: list[int] = Field(description="Of the environment `local`.")
    more_edge_ports: dict[str, list[int]] = Field(
        default_factory=dict, description="Of every other environment on this machine."
    )
    environments_file: Path | None = Field(
        default=None, description="Applied last; the one that is shipped if None."
    )
    server_elsewhere: bool = Field(
        default=False, description="Whether compose, systemd or somebody else runs Prefect's server."
    )


@dataclass(frozen=True)
class Share:
    """What one environment has of this machine: a folder, a node and its ports."""

    path: Path
    node: str
    ports: list[int]


class Home:
    """`$MODEL_DEPLOY_HOME`, or ~/.model-deploy."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = (path or home_folder()).absolute()

    @property
    def node_folder(self) -> Path:
        """Mounted whole into the agent."""
        return self.path / "node"

    @property
    def secrets(self) -> Path:
        """Files of mode 0600 that only the agent reads."""
        return self.path / "secrets"

    @property
    def store(self) -> Path:
        """The local environment's bucket."""
        return self.path / "store"

    @property
    def prefect(self) -> Path:
        """The Prefect server's own folder."""
        return self.path / "prefect"

    def chosen(self) -> Chosen:
        """What was chosen, choosing now if it was not. Raises BadInput for a spoilt file."""
        file = self.path / "machine.json"
        if file.exists():
            try:
                return Chosen.model_validate_json(file.read_text(encoding="utf-8"))
            except (ValidationError, json.JSONDecodeError) as error:
                raise BadInput(
                    "the remembered settings of this machine cannot be read",
                    where=str(file),
                    got=str(error).splitlines()[0],
                    next_step=f"mend or delete {file}",
                ) from error
        ports = free_ports(EDGE_PORTS + 3)
        chosen = Chosen(
            node=os.environ.get("MODEL_DEPLOY_NODE", "model-deploy"),
            registry_port=ports[0],
            prefect_port=ports[1],
            receiver_port=RECEIVER_PORT if is_free(RECEIVER_PORT) else ports[2],
            edge_ports=sorted(ports[3:]),
        )
        self._remember(chosen, first=True)
        return self.chosen()  # another process may have been the first

    def share(self, environment: str) -> Share:
        """The environment's part of this machine, choosing its ports now if they were not."""
        chosen = self.chosen()
        if environment == LOCAL:
            return Share(self.path, chosen.node, chosen.edge_ports)
        ports = chosen.more_edge_ports.get(environment)
        if ports is None:
            taken = {chosen.registry_port, chosen.prefect_port, chosen.receiver_port, *chosen.edge_ports}
            taken.update(port for others in chosen.more_edge_ports.values() for port in others)
            found = [port for port in free_ports(EDGE_PORTS + len(taken)) if port not in taken]
            ports = sorted(found[:EDGE_PORTS])
            more = {**chosen.more_edge_ports, environment: ports}
            self._remember(chosen.model_copy(update={"more_edge_ports": more}))
        return Share(self.path / "environments" / environment, f"{chosen.node}-{environment}", ports)

    def shares(self) -> list[Share]:
        """Of every environment that was ever described here."""
        return [self.share(name) for name in (LOCAL, *self.chosen().more_edge_ports)]

    @property
    def environments_file(self) -> Path:
        """What describes the environments: the file that was applied last, else the one that is shipped."""
        return self.chosen().environments_file or SHIPPED

    def remember_environments(self, file: Path) -> None:
        """From now on this is the file: what comes up at the next boot must be what was applied."""
        kept = None if file.absolute() == SHIPPED else file.absolute()
        self._remember(self.chosen().model_copy(update={"environments_file": kept}))

    def remember_server(self, *, elsewhere: bool) -> None:
        """From now on a command waits for Prefect's server, or starts it."""
        chosen = self.chosen()
        if chosen.server_elsewhere != elsewhere:
            self._remember(chosen.model_copy(update={"server_elsewhere": elsewhere}))

    def _remember(self, chosen: Chosen, *, first: bool = False) -> None:
        """`first`: unless something is remembered already."""
        self.prepare()
        file = self.path / "machine.json"
        fresh = file.with_suffix(f".{os.getpid()}")
        fresh.write_text(chosen.model_dump_json(indent=2), encoding="utf-8")
        if not first:
            fresh.rename(file)
            return
        with suppress(FileExistsError):
            file.hardlink_to(fresh)
        fresh.unlink()

    def prepare(self) -> None:
        """Make the folders. Raises BadInput where that is not allowed."""
        try:
            for folder in (self.node_folder, self.store, self.prefect):
                folder.mkdir(parents=True, exist_ok=True)
            self.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise BadInput(
                "the data of model-deploy cannot be kept here",
                where=str(self.path),
                expected="a folder that the user who runs model-deploy may write to",
                got=str(error),
                next_step="set MODEL_DEPLOY_HOME to one of yours, or have this one given to you (chown)",
            ) from error


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def is_free(port: int) -> bool:
    """Whether nothing listens on the port of this machine."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
