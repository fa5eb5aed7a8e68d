"""The edge: HAProxy in a container of its own. It owns the public ports and is switched at runtime."""

import csv
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from docker.errors import APIError, NotFound

from agent import haproxy, traffic
from agent.engine import Engine
from agent.haproxy import Ports, Service
from agent.inspected import PREFIX
from agent.room import is_full, write_with_room
from releases.status import Counters
from releases.swap_memory import Slot

FOLDER = Path(haproxy.FOLDER)
ANSWER_SECONDS = 5.0
START_SECONDS = 15.0
LONGEST_LINE = 8000  # bytes; HAProxy's own limit is its buffer of 16 KiB
REFUSED = ("No such", "Unknown", "Require", "Can't", "Invalid", "'")


class EdgeError(Exception):
    """HAProxy did not do what it was told."""


class Edge:
    """Brings the running HAProxy to what the services say, from files that outlive it."""

    def __init__(self, engine: Engine, image: str, ports: Ports, listen: str) -> None:
        self.engine = engine
        self.image = image
        self.ports = ports
        self.listen = listen
        self.folder = FOLDER
        (FOLDER / "certs").mkdir(mode=0o700, exist_ok=True)
        self.services: dict[str, Service] = {}
        self.thumbprint = ""  # of the ACME account whose challenges are answered
        self.told: dict[str, dict[str, str]] = {}  # the maps as the running HAProxy has them, for all we know
        self.lock = threading.Lock()
        self.make_room: Callable[[], int] = lambda: 0
        self.name = f"{engine.node}-edge"
        self.subnet = engine.subnet()

    def ensure(self) -> None:
        """Have the edge's container running, with whatever the files say."""
        with self.lock:
            if not (self.folder / "haproxy.cfg").exists():
                self._write()
            self._remove_if_other()
            self._ensure_container()

    def remember(self, service: Service) -> None:
        """Know a service without touching the running HAProxy: at the agent's start."""
        self.services[service.name] = service

    def converge(self, service: Service) -> None:
        """Make the edge serve the service like this: files first, then the running HAProxy."""
        with self.lock:
            if service.places:
                self.services[service.name] = service
            else:
                self.services.pop(service.name, None)
            self._load()
            up, down = haproxy.server_commands(service)
            self.send(up)
            self._tell_maps()
            self.send(down)

    def answer_challenges(self) -> None:
        """Bring the running HAProxy to the thumbprint, even without a service. Raises EdgeError."""
        with self.lock:
            self._load()
            self._tell_maps()

    def sessions(self, service: str) -> dict[Slot, int]:
        """Requests in flight, by slot."""
        return {slot: int(fields["scur"] or 0) for slot, fields in self._statistics(service).items()}

    def counters(self, service: str) -> dict[Slot, Counters]:
        """What was answered, by slot, since `count_anew`."""
        return {slot: haproxy.counters(fields) for slot, fields in self._statistics(service).items()}

    def count_anew(self) -> None:
        """Set every counter to zero: HAProxy has no other way to forget a slot's former container."""
        self.send(["clear counters all"])

    def _statistics(self, service: str) -> dict[Slot, dict[str, str]]:
        """HAProxy's fields of the service's slots, by name; empty before the edge knows the service."""
        known = self.services.get(service)
        if known is None:
            return {}
        head, *servers = self.send(["show stat -1 4 -1"]).removeprefix("# ").splitlines()
        lines = [head, *(line for line in servers if line.startswith(f"{known.backend},"))]
        return {Slot(one["svname"]): one for one in csv.DictReader(lines) if one["svname"] in set(Slot)}

    def send(self, commands: list[str]) -> str:
        """Send runtime commands, few lines of many. Raises EdgeError at a refusal or no answer."""
        answer = "".join(self._send(line) for line in _lines(commands))
        refused = [one for one in answer.splitlines() if one.startswith(REFUSED)]
        if refused:
            raise EdgeError(f"HAProxy refused a command: {refused[0]}")
        return answer

    def _send(self, line: str) -> str:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(ANSWER_SECONDS)
                connection.connect(str(self.folder / "admin.sock"))
                connection.sendall(f"{line}\n".encode())
                chunks = []
                while chunk := connection.recv(65536):
                    chunks.append(chunk)
        except OSError as error:
            raise EdgeError(f"HAProxy's runtime socket does not answer: {error}") from error
        return b"".join(chunks).decode()

    def _tell_maps(self) -> None:
        """Bring the running HAProxy's maps to what the files say, each at one stroke."""
        wanted = self._maps()
        changed = [name for name, entries in wanted.items() if self.told.get(name) != entries]
        for name in changed:
            answer = self.send([f"prepare map {haproxy.FOLDER}/{name}"])
            self.send(haproxy.fill_map(name, answer.rpartition(":")[2].strip(), wanted[name]))
            self.told[name] = wanted[name]

    def certificates(self) -> list[Path]:
        """Every certificate's file."""
        return sorted((self.folder / "certs").glob("*.pem"))

    def use_certificate(self, path: Path, text: str) -> None:
        """Show it to whoever connects from now on; those who are connected go on. Raises EdgeError.

        HAProxy first: what it does not take must not lie there when it starts the next time.
        """
        with self.lock:
            self._load()
            made, given, committed, listed = haproxy.certificate_commands(str(path), text)
            self._send(made)
            said = self._send(given) + self._send(committed)
            if "Success!" in said:
                said = self._send(listed)
            if "Success!" not in said and "already exists" not in said:
                self._send(f"abort ssl cert {path}")
                raise EdgeError(f"HAProxy does not take the certificate: {' '.join(said.split())[-200:]}")
            self._write_file(path.name, text, into="certs", mode=0o600)

    def forget_certificate(self, path: Path) -> None:
        """Nobody's any more. Raises EdgeError."""
        with self.lock:
            path.unlink(missing_ok=True)
            self._send(f"del ssl crt-list {haproxy.CERTIFICATES} {path}")
            self._send(f"del ssl cert {path}")

    def _published(self) -> list[int]:
        return [*self.ports.plain, *self.ports.tls]

    def _structure(self) -> str:
        return haproxy.structure_key(self._where())

    def _where(self) -> haproxy.Where:
        agent = f"{self.subnet}.2"
        return haproxy.Where(self.ports, status=f"{agent}:9180", traffic=f"{agent}:{traffic.PORT}")

    def _maps(self) -> dict[str, dict[str, str]]:
        return haproxy.maps(self.services.values(), self.thumbprint)

    def _load(self) -> None:
        """Have HAProxy running from files that say what we know."""
        try:
            write_with_room(self._write, self.make_room)
        except OSError as error:
            if not is_full(error):
                raise
            # What runs is told all the same, and the files at the next look: it may be a way back.
            print("the disk is full: the edge's files are behind", flush=True)  # noqa: T201 - the container's log
        self._ensure_container()
        if self._loaded() != self._structure():
            self._reload()

    def _write(self) -> None:
        for name, entries in self._maps().items():
            self._write_file(name, haproxy.file(entries))
        self._write_file("haproxy.cfg", haproxy.config(self.services.values(), self._where()))

    def _write_file(self, name: str, text: str, *, into: str = "", mode: int = 0o644) -> None:
        path, data = self.folder / into / name, text.encode()
        if path.exists() and path.read_bytes() == data:
            return  # a switch waits for the disk, and few files change
        fresh = self.folder / f"{name}.new"  # never in the folder of certificates: HAProxy reads all of that
        fresh.touch(mode)
        fresh.chmod(mode)
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    def _loaded(self) -> str:
        """The structure HAProxy runs with, written after every load."""
        try:
            return (self.folder / "loaded").read_text(encoding="utf-8")
        except OSError:
            return ""

    def _remove_if_other(self) -> None:
        """A container keeps the ports and the image it was made with; other ones cost a moment."""
        try:
            found = self.engine.client.containers.get(self.name)
        except NotFound:
            return
        bound = found.attrs["HostConfig"]["PortBindings"] or {}
        at = {(one["HostIp"], int(one["HostPort"])) for ways in bound.values() for one in ways}
        elsewhere = at != {(self.listen, port) for port in self._published()}
        renewed = found.attrs["Config"]["Image"] != self.image and self.engine.has_image(self.image)
        if elsewhere or renewed:
            found.remove(force=True)
            self._write()

    def _ensure_container(self) -> None:
        try:
            found = self.engine.client.containers.get(self.name)
            if found.status == "running":
                return
            found.start()
        except NotFound:
            self._create()
        self._wait(lambda: "Pid:" in self.send(["show info"]))
        self._has_loaded()

    def _create(self) -> None:
        api = self.engine.api
        created = api.create_container(
            self.image,
            name=self.name,
            entrypoint=["haproxy", "-W", "-db", "-f", f"{haproxy.FOLDER}/haproxy.cfg"],
            user="0:0",  # the runtime socket lies on a volume whose owner is root
            labels={f"{PREFIX}.node": self.engine.node},
            ports=self._published(),
            host_config=api.create_host_config(
                binds={f"{self.engine.node}-edge": {"bind": haproxy.FOLDER, "mode": "rw"}},
                port_bindings={port: (self.listen, port) for port in self._published()},
                restart_policy={"Name": "always"},
                log_config={"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            ),
            networking_config=api.create_networking_config(
                {self.engine.network: api.create_endpoint_config(ipv4_address=f"{self.subnet}.3")}
            ),
        )
        try:
            api.start(created["Id"])
        except APIError as error:
            api.remove_container(created["Id"], force=True)
            raise EdgeError(f"the edge does not start: {error.explanation}") from error

    def _reload(self) -> None:
        """Only after another agent with other ideas of the configuration; the listeners are handed over."""
        before = self._pid()
        self.engine.api.kill(self.name, "SIGUSR2")
        self._wait(lambda: self._pid() not in {before, ""})  # no answer at all is no new worker
        self._has_loaded()

    def _has_loaded(self) -> None:
        self._write_file("loaded", self._structure())
        self.told = {}

    def _pid(self) -> str:
        lines = self.send(["show info"]).splitlines()
        return next((line for line in lines if line.startswith("Pid:")), "")

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if condition():
                    return
                problem = "it has not changed"
            except EdgeError as error:
                problem = str(error)
            if time.monotonic() > deadline:
                raise EdgeError(f"the edge is not ready after {START_SECONDS:.0f} s: {problem}")
            time.sleep(0.02)


def _lines(commands: list[str]) -> list[str]:
    lines: list[str] = []
    for command in commands:
        if lines and len(lines[-1]) + len(command) < LONGEST_LINE:
            lines[-1] += f";{command}"
        else:
            lines.append(command)
    return lines
