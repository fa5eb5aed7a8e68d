"""HAProxy's configuration and runtime commands, as pure text. Checked against HAProxy 2.6.

Nothing that services bring along is in the configuration: it has a seat for every service that a node may
have, and which service is where lies in maps that are changed at runtime. So HAProxy is loaded anew, which
would cut what its old process is still answering, only for another agent's other configuration.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from releases.acme import CHALLENGES
from releases.place import Place
from releases.release import Release
from releases.size import in_bytes
from releases.status import CANDIDATE_HEADER, RELEASE_HEADER, STATUS_PATH, Counters
from releases.swap_memory import WHOLE, Slot

FOLDER = "/edge"
SOCKET = f"{FOLDER}/admin.sock"
CERTIFICATES = f"{FOLDER}/certs"  # a folder of files: chain and key; which is shown is decided by its names
HTTPS = 443
SEATS = 122  # two addresses each, of a /24: 20 KB of HAProxy's memory a seat


@dataclass(frozen=True)
class Ports:
    """What the edge listens at."""

    plain: tuple[int, ...]
    tls: tuple[int, ...] = ()


@dataclass(frozen=True)
class Where:
    """The edge's ports, and the agent's addresses: what tells the node's status, what counts the answers."""

    ports: Ports
    status: str
    traffic: str


@dataclass(frozen=True)
class Limits:
    """What the edge enforces. timeout: seconds to the answer's beginning. max_body None: any size."""

    timeout: float = 60.0
    max_body: str | None = None

    def looser(self, other: "Limits") -> "Limits":
        """What both would let through."""
        bodies = (self.max_body, other.max_body)
        sized = [body for body in bodies if body is not None]
        body = max(sized, key=in_bytes) if len(sized) == len(bodies) else None
        return Limits(max(self.timeout, other.timeout), body)


@dataclass(frozen=True)
class Server:
    """One slot of a service. weight None: it gets no request at all; 0: only marked ones.

    `limits` are those of marked requests.
    """

    address: str
    port: int
    weight: int | None
    release: int | None
    key_sha256: str = ""
    limits: Limits = Limits()


@dataclass(frozen=True)
class Service:
    """One service at the edge. No place: nothing of it is wanted, the edge forgets it."""

    name: str
    seat: int
    places: tuple[Place, ...]
    limits: Limits
    a: Server
    b: Server

    def server(self, slot: Slot) -> Server:
        """The slot's server."""
        return self.a if slot is Slot.a else self.b

    @property
    def backend(self) -> str:
        """The backend's name."""
        return f"seat_{self.seat}"


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


def limits_of(release: Release) -> Limits:
    """What the release asks the edge to enforce."""
    return Limits(release.run.limits.request_timeout, release.run.limits.max_body)


def config(services: Iterable[Service], where: Where) -> str:
    """The whole configuration; a restarted HAProxy serves what it and the maps say.

    Every one of the edge's ports tells the node's status, with a service on it or not.
    """
    by_seat = {one.seat: one for one in services}
    backends = (_backend(seat, by_seat.get(seat)) for seat in range(SEATS))
    return "\n".join([f"# structure {structure_key(where)}", *_fixed(where), *backends]) + "\n"


def structure_key(where: Where) -> str:
    """Changes when only a reload can bring the running HAProxy there."""
    parts = [*_fixed(where), _backend(0, None)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def maps(services: Iterable[Service], thumbprint: str = "") -> dict[str, dict[str, str]]:
    """The files beside the configuration: name → key → value, in the order in which they are to change.

    `thumbprint`: of the ACME account whose challenges are answered; none if empty.
    Where two services say that a place is theirs, it is the first one's by name, and stays so.
    """
    services = sorted(services, key=lambda one: one.name)
    slots = [(one, slot, one.server(slot)) for one in services for slot in Slot]
    limits = {one.backend: one.limits for one in services}
    limits |= {f"{one.backend}/{slot}": server.limits for one, slot, server in slots if server.key_sha256}
    routes: dict[str, str] = {}
    names: dict[str, list[str]] = {}
    for one in services:
        for place in one.places:
            for key in [f"{place.port}/{host}" for host in place.hosts] or [f"{place.port}"]:
                routes.setdefault(key, one.backend)
            names.setdefault(f"{place.port}", []).extend(place.hosts)
    return {
        "keys.map": {server.key_sha256: f"{one.backend}/{slot}" for one, slot, server in slots},
        "releases.map": {f"{one.backend}/{slot}": f"{server.release or 0}" for one, slot, server in slots},
        "names.map": {one.backend: one.name for one in services},
        "timeouts.map": {whom: f"{round(one.timeout * 1000)}" for whom, one in limits.items()},
        "bodies.map": {whom: f"{in_bytes(one.max_body)}" for whom, one in limits.items() if one.max_body},
        "routes.map": routes,
        "secure.map": {
            host: f"https://{host}" + ("" if place.port == HTTPS else f":{place.port}")
            for one in services
            for place in one.places
            if place.certificate
            for host in place.hosts
        },
        "hosts.map": {port: ",".join(sorted(set(hosts))) for port, hosts in names.items() if hosts},
        "acme.map": {ACCOUNT: thumbprint} if thumbprint else {},
    }


def file(entries: Mapping[str, str]) -> str:
    """A map's file."""
    return "".join(f"{key} {value}\n" for key, value in entries.items() if key)


def fill_map(name: str, version: str, entries: Mapping[str, str]) -> list[str]:
    """What replaces the map at one stroke, in the version that `prepare map` has given."""
    path = f"{FOLDER}/{name}"
    added = [f"add map @{version} {path} {key} {value}" for key, value in entries.items() if key]
    return [*added, f"commit map @{version} {path}"]


def certificate_commands(path: str, text: str) -> list[str]:
    """What takes a certificate into use, new or not. `text` must have no blank line."""
    return [
        f"new ssl cert {path}",  # there already: it says so
        f"set ssl cert {path} <<\n{text}",
        f"commit ssl cert {path}",
        f"add ssl crt-list {CERTIFICATES} {path}",  # there already: it says so
    ]


def server_commands(service: Service) -> tuple[list[str], list[str]]:
    """What brings the slots there: first what comes up, then what goes away."""
    up, down = [], []
    for slot in Slot:
        server, name = service.server(slot), f"{service.backend}/{slot}"
        if server.weight is None or not service.places:
            down += [f"set server {name} state maint"]
        else:
            up += [f"set server {name} addr {server.address} port {server.port}"]
            raised = [f"set server {name} weight {server.weight}", f"set server {name} state ready"]
            # A weight that falls waits until the other one's has risen.
            (up if server.weight == WHOLE else down).extend(raised)
    return up, down


def counters(fields: Mapping[str, str]) -> Counters:
    """A server's line of `show stat`. How long they took the agent hears of each answer."""
    answered = sum(int(fields[f"hrsp_{kind}"] or 0) for kind in ("1xx", "2xx", "3xx", "4xx", "5xx", "other"))
    unanswered = int(fields["eresp"] or 0) + int(fields["econ"] or 0)
    return Counters(
        requests=answered + unanswered,
        errors=int(fields["hrsp_5xx"] or 0) + unanswered,
    )


_HEAD = f"""global
  master-worker
  stats socket {SOCKET} mode 600 level admin expose-fd listeners
  hard-stop-after 60s
  log stdout format raw local0 warning
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  option redispatch 1
  option http-keep-alive
  http-reuse safe
  retries 3
  retry-on conn-failure
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  timeout http-keep-alive 75s
  timeout http-request 30s
  timeout tunnel 1h"""

NOBODY = Server("127.0.0.1", 1, None, None)
_SEATED = "var(txn.seat) -m found"
_MISDIRECTED = f"!{{ {_SEATED} }} {{ var(txn.hosts) -m found }} !{{ path {STATUS_PATH} }}"
_TO_TLS = f"!{{ ssl_fc }} !{{ {_SEATED} }} {{ var(txn.secure) -m found }} !{{ path {STATUS_PATH} }}"
_FORWARDED = "{ req.hdr(X-Forwarded-Proto) -m found }"
_LIMITED = "{ var(txn.body) -m found }"
_TOO_LARGE = f"{_LIMITED} {{ req.hdr_val(content-length),sub(txn.body) gt 0 }}"
_UNSIZED = f"{_LIMITED} !{{ req.hdr(content-length) -m found }}"
# In HTTP/2 no header says whether a body follows: its first byte is waited for, unless it is a websocket.
_PERHAPS = f"{_UNSIZED} {{ req.ver 2.0 }} !{{ req.hdr(upgrade) -m found }}"
_ENDLESS = f"{_LIMITED} {{ req.hdr(transfer-encoding) -m found }} or {_UNSIZED} {{ req.body_size gt 0 }}"
_SAY_LENGTH = r'"a body needs a Content-Length here, of at most %[var(txn.body)] bytes\n"'
# The answer is the token asked for and the account's thumbprint, which is public (RFC 8555 section 8.3): so
# every node gives it, for any name, and need not be told of an order.
ACCOUNT = "account"
_CHALLENGED = f"!{{ ssl_fc }} {{ var(txn.acme) -m found }} {{ path -m reg ^{CHALLENGES}[A-Za-z0-9_-]+$ }}"
_ANSWER = '"%[path,field(4,/)].%[var(txn.acme)]"'
_NOBODY = (
    r'"no service here is called %[var(txn.host)]; those at port %[dst_port] are called %[var(txn.hosts)]\n"'
)


def _fixed(where: Where) -> list[str]:
    """All but the seats."""
    edge = [
        "frontend edge",
        *(f"  bind :{port}" for port in where.ports.plain),
        *(f"  bind :{port} ssl crt {CERTIFICATES} strict-sni alpn h2,http/1.1" for port in where.ports.tls),
        f"  log {where.traffic} format raw local0",  # a datagram for each answer: agent/traffic.py
        f'  log-format "%[var(txn.seat),map({FOLDER}/names.map)] %[var(txn.release)] %ST %Ta"',
        "  option forwardfor",
        f"  http-request set-var(txn.acme) str({ACCOUNT}),map({FOLDER}/acme.map)",
        f"  http-request return status 200 content-type text/plain lf-string {_ANSWER} if {_CHALLENGED}",
        "  http-request set-header X-Forwarded-Proto https if { ssl_fc }",
        # Without TLS here there may be a balancer in front, which knows how its users came.
        f"  http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }} !{_FORWARDED}",
        "  http-request set-var-fmt(txn.port) %[dst_port]",
        "  http-request set-var(txn.host) req.hdr(host),host_only,lower",
        '  http-request set-var-fmt(txn.place) "%[dst_port]/%[var(txn.host)]"',
        f"  http-request set-var(txn.seat) var(txn.place),map({FOLDER}/routes.map)",
        f"  http-request set-var(txn.secure) var(txn.host),map({FOLDER}/secure.map)",
        f"  http-request redirect code 308 location %[var(txn.secure)]%[pathq] if {_TO_TLS}",
        f"  http-request set-var(txn.seat) var(txn.port),map({FOLDER}/routes.map) if !{{ {_SEATED} }}",
        f"  http-request set-var(txn.hosts) var(txn.port),map({FOLDER}/hosts.map)",
        f"  http-request return status 421 content-type text/plain lf-string {_NOBODY} if {_MISDIRECTED}",
        f"  http-request set-var(txn.key) req.hdr({CANDIDATE_HEADER}),sha2(256),hex,lower",
        f"  http-request set-var(txn.marked) var(txn.key),map({FOLDER}/keys.map)",
        f"  http-request del-header {CANDIDATE_HEADER} if !{{ path {STATUS_PATH} }}",
        # The service's limits hold, but for marked requests those of the release that they are to meet.
        "  http-request set-var(txn.limits) var(txn.seat)",
        "  http-request set-var(txn.limits) var(txn.marked) if { var(txn.marked) -m found }",
        f"  http-request set-var(txn.body) var(txn.limits),map_str_int({FOLDER}/bodies.map)",
        f"  http-request wait-for-body time 5s at-least 1 if {_PERHAPS}",
        f"  http-request return status 411 content-type text/plain lf-string {_SAY_LENGTH} if {_ENDLESS}",
        f"  http-request deny deny_status 413 if {_TOO_LARGE}",
        f"  use_backend agent if {{ path {STATUS_PATH} }}",
        f"  use_backend %[var(txn.seat)] if {{ {_SEATED} }}",
        "  default_backend agent",
    ]
    quiet = "  http-request set-log-level silent"  # no user asks for the status
    return [_HEAD, *edge, "backend agent", "  timeout server 5s", quiet, f"  server agent {where.status}"]


def _backend(seat: int, service: Service | None) -> str:
    name = f"seat_{seat}"
    lines = [
        f"backend {name}",
        f"  http-request set-timeout server var(txn.limits),map_str_int({FOLDER}/timeouts.map,60000)",
        "  http-response set-var-fmt(txn.slot) %[be_name]/%[srv_name]",
        f"  http-response set-var(txn.release) var(txn.slot),map({FOLDER}/releases.map)",
        f"  http-response set-header {RELEASE_HEADER} %[var(txn.release)]",
        *(f"  use-server {slot} if {{ var(txn.marked) -m str {name}/{slot} }}" for slot in Slot),
    ]
    for slot in Slot:
        server = service.server(slot) if service else NOBODY
        state = "disabled" if server.weight is None else f"weight {server.weight}"
        lines.append(f"  server {slot} {server.address}:{server.port} {state}")
    return "\n".join(lines)
