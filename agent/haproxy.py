"""HAProxy's configuration and runtime commands, as pure text. Checked against HAProxy 2.6."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from releases.release import Release
from releases.status import CANDIDATE_HEADER, RELEASE_HEADER, STATUS_PATH, Counters
from releases.swap import WHOLE, Slot

FOLDER = "/edge"
SOCKET = f"{FOLDER}/admin.sock"
FORMAT = 2  # another one: a running edge that an older agent has configured is reloaded once
UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}


@dataclass(frozen=True)
class Server:
    """One slot of a service. weight None: it gets no request at all; 0: only marked ones."""

    address: str
    port: int
    weight: int | None
    release: int | None
    key_sha256: str = ""


@dataclass(frozen=True)
class Service:
    """One service at the edge. public_port 0: nothing of it is wanted, the edge forgets it."""

    name: str
    public_port: int
    request_timeout: float
    max_body: str | None
    a: Server
    b: Server

    def server(self, slot: Slot) -> Server:
        """The slot's server."""
        return self.a if slot is Slot.a else self.b

    @property
    def backend(self) -> str:
        """The backend's name."""
        return f"service_{self.name}"


def weights(live: Slot | None, candidate: Slot | None, traffic: int) -> dict[Slot, int | None]:
    """Who gets how much, from what is live and what is on trial."""
    shares: dict[Slot, int | None] = {Slot.a: None, Slot.b: None}
    if live is not None:
        shares[live] = WHOLE
    if candidate is not None and candidate is not live:
        shares[candidate] = traffic
        if live is not None:
            shares[live] = WHOLE - traffic
    return shares


def limits_of(release: Release) -> tuple[float, str | None]:
    """What the edge enforces for the release's service."""
    return release.run.limits.request_timeout, release.run.limits.max_body


def config(services: list[Service], ports: list[int], agent: str, listener: str) -> str:
    """The whole configuration; a restarted HAProxy serves what it says.

    Every one of the edge's ports tells the node's status, with a service on it or not.
    """
    taken = {one.public_port for one in services}
    idle = [port for port in ports if port not in taken]
    structure = "\n".join([_HEAD, _node(idle, agent), *(_frontend(one, listener) for one in services)])
    backends = "\n".join(_backend(one) for one in services)
    return f"# structure {structure_key(services)}\n{structure}\n{backends}\n"


def structure_key(services: list[Service]) -> str:
    """Changes when only a reload can bring the running HAProxy there."""
    parts = [(one.name, one.public_port, one.request_timeout, one.max_body) for one in services]
    return hashlib.sha256(repr((FORMAT, parts)).encode()).hexdigest()[:16]


def files(service: Service) -> dict[str, str]:
    """The files beside the configuration: who may reach a candidate, which release is in which slot."""
    numbers = "".join(f"{slot} {service.server(slot).release or 0}\n" for slot in Slot)
    keys = {_keys(service.name, slot): f"{service.server(slot).key_sha256 or 'none'}\n" for slot in Slot}
    return {_map(service.name): numbers, **keys}


def runtime_commands(service: Service) -> list[str]:
    """What brings the running HAProxy there. First what comes up, then what goes away."""
    up, down = [], []
    for slot in Slot:
        server, name = service.server(slot), f"{service.backend}/{slot}"
        keys = f"{FOLDER}/{_keys(service.name, slot)}"
        up += [f"clear acl {keys}", f"add acl {keys} {server.key_sha256 or 'none'}"]
        up += [f"set map {FOLDER}/{_map(service.name)} {slot} {server.release or 0}"]
        if server.weight is None:
            down += [f"set server {name} state maint"]
        else:
            up += [f"set server {name} addr {server.address} port {server.port}"]
            raised = [f"set server {name} weight {server.weight}", f"set server {name} state ready"]
            # A weight that falls waits until the other one's has risen.
            (up if server.weight == WHOLE else down).extend(raised)
    return up + down


def counters(fields: Mapping[str, str]) -> Counters:
    """A server's line of `show stat`. HAProxy keeps no percentiles, only the mean of its last requests."""
    answered = sum(int(fields[f"hrsp_{kind}"] or 0) for kind in ("1xx", "2xx", "3xx", "4xx", "5xx", "other"))
    unanswered = int(fields["eresp"] or 0) + int(fields["econ"] or 0)
    return Counters(
        requests=answered + unanswered,
        errors=int(fields["hrsp_5xx"] or 0) + unanswered,
        milliseconds=float(fields["rtime"] or 0),
    )


_HEAD = f"""global
  master-worker
  stats socket {SOCKET} mode 600 level admin expose-fd listeners
  hard-stop-after 60s
  log stdout format raw local0 warning
defaults
  mode http
  option redispatch 1
  option http-keep-alive
  http-reuse safe
  retries 3
  retry-on conn-failure
  timeout connect 5s
  timeout client 75s
  timeout http-keep-alive 75s
  timeout http-request 30s
  timeout tunnel 1h"""


def _node(ports: list[int], agent: str) -> str:
    frontend = ["frontend node", *(f"  bind :{port}" for port in ports), "  default_backend agent"]
    backend = [
        "backend agent",
        "  timeout server 5s",
        "  http-request set-log-level silent",  # no user asks for the status
        f"  server agent {agent}",
    ]
    return "\n".join([*(frontend if ports else []), *backend])


def _frontend(service: Service, listener: str) -> str:
    lines = [f"frontend {service.name}", f"  bind :{service.public_port}"]
    if service.max_body:
        size = int(float(service.max_body[:-1]) * UNITS[service.max_body[-1]])
        lines.append(f"  http-request deny deny_status 413 if {{ req.hdr_val(content-length) gt {size} }}")
    return "\n".join(
        [
            *lines,
            f"  log {listener} format raw local0",  # a datagram for each answer: agent/traffic.py
            f'  log-format "{service.name} %[var(txn.release)] %ST %Ta"',
            "  http-request set-header X-Forwarded-Proto http",
            "  option forwardfor",
            f"  use_backend agent if {{ path {STATUS_PATH} }}",
            f"  default_backend {service.backend}",
        ]
    )


def _backend(service: Service) -> str:
    numbers = f"{FOLDER}/{_map(service.name)}"
    lines = [
        f"backend {service.backend}",
        f"  timeout server {round(service.request_timeout * 1000)}ms",
        f"  http-request set-var(txn.key) req.hdr({CANDIDATE_HEADER}),sha2(256),hex",
        f"  http-request del-header {CANDIDATE_HEADER}",
        f"  http-response set-var(txn.release) srv_name,map({numbers})",
        f"  http-response set-header {RELEASE_HEADER} %[var(txn.release)]",
    ]
    for slot in Slot:
        keys = f"{FOLDER}/{_keys(service.name, slot)}"
        lines.append(f"  use-server {slot} if {{ var(txn.key) -m str -i -f {keys} }}")
    for slot in Slot:
        server = service.server(slot)
        state = "disabled" if server.weight is None else f"weight {server.weight}"
        lines.append(f"  server {slot} {server.address}:{server.port} {state}")
    return "\n".join(lines)


def _map(name: str) -> str:
    return f"releases-{name}.map"


def _keys(name: str, slot: Slot) -> str:
    return f"keys-{name}-{slot}.acl"
