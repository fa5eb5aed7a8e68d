"""Where users find a service at a node's edge: by a port of its own, or by name at a port that is shared."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from releases.desired import Desired
from releases.problem import Refused
from releases.release import Release


@dataclass(frozen=True)
class Place:
    """Without hosts the port is the service's alone, whatever name it is asked by."""

    port: int
    hosts: tuple[str, ...] = ()
    certificate: str = ""  # the secret with the one for these hosts: TLS ends at the edge

    def leaves_room_for(self, other: "Place") -> bool:
        """Whether both can be had at once, by two services. A name is one service's, at whatever port."""
        if set(self.hosts) & set(other.hosts):
            return False
        return self.port != other.port or bool(self.hosts and other.hosts)


Taken = tuple[str, Place]  # a service, and where it is


def of(release: Release) -> Place:
    """Where the release is found."""
    return Place(release.public_port, release.hosts, release.certificate)


def taken(desired: Desired) -> list[Taken]:
    """What the node's services have: the confirmed release and the one on trial, until that has ended."""
    return [
        (name, of(release))
        for name, part in desired.services.items()
        for release in (part.confirmed, part.candidate.release if part.candidate else None)
        if release is not None
    ]


def choose(
    service: str, wanted: int | None, hosts: tuple[str, ...], ports: Sequence[int], places: Iterable[Taken]
) -> int:
    """The service's port: the one it asks for, had before, may share, or a free one. Raises Refused."""
    places = list(places)
    others = [one for one in places if one[0] != service]
    _check_names(service, hosts, others)
    fit = [port for port in ports if not _in_the_way(Place(port, hosts), others)]
    if wanted is not None and wanted not in fit:
        other = _in_the_way(Place(wanted, hosts), others)
        raise Refused(
            f"port {wanted} cannot be the public port of {service}",
            where="run.public_port",
            expected=f"one of {fit}, or none to get one" if fit else "a free port; all are taken",
            got=_taken_by(other) if other and wanted in ports else "not one of the edge's ports",
            next_step=_way_to_share(hosts, other),
        )
    before = [place.port for name, place in reversed(places) if name == service]
    shared = [place.port for _, place in others if hosts and place.hosts]
    choices = [wanted] if wanted else [*before, *(port for port in ports if port in shared), *fit]
    port = next((one for one in choices if one in fit), None)
    if port is None:
        raise Refused(
            "every port of the edge is taken",
            where=f"the public port of {service}",
            got=", ".join(sorted({name for name, _ in others})),
            next_step="services share a port by run.hosts",
        )
    return port


def ports_for(service: str, plain: Sequence[int], tls_ports: Sequence[int], *, tls: bool) -> Sequence[int]:
    """Those that the service may have. Raises Refused: a certificate, and nowhere to show it."""
    if tls and not tls_ports:
        raise Refused(
            f"{service} has a certificate, and the environment's edge no port for TLS",
            where="run.hosts",
            expected="`tls_ports: [443]` at the environment's target",
            next_step="add it to the environments' file, then: model-deploy apply",
        )
    return tls_ports if tls else plain


def challenge_port(port: int, plain: Sequence[int]) -> int:
    """The port for ACME's challenges, if the edge has it and no TLS on it. Raises Refused."""
    if port not in plain:
        raise Refused(
            f"no edge answers ACME's challenges: it has no plain port {port}",
            where="`ports` of the environment's target",
            expected=f"{port} among them, since a certificate authority asks at port 80 by plain HTTP",
            got=", ".join(str(one) for one in plain),
            next_step="add it; or, where something in front sends port 80 to another of these, "
            "say which: `acme: {port: …}`",
        )
    return port


def check(release: Release, places: Iterable[Taken]) -> None:
    """Of two releases that chose a port or name at once, the later one is refused. Raises Refused."""
    others = [one for one in places if one[0] != release.service]
    _check_names(release.service, release.hosts, others)
    other = _in_the_way(of(release), others)
    if other is not None:
        raise Refused(
            f"port {release.public_port} cannot be the public port of {release.service}",
            got=f"{_taken_by(other)} meanwhile",
            next_step="release again: another port is chosen then",
        )


def _check_names(service: str, hosts: tuple[str, ...], others: Iterable[Taken]) -> None:
    for name, place in others:
        for host in hosts:
            if host in place.hosts:
                raise Refused(
                    f"{host} cannot be a host name of {service}",
                    where="run.hosts",
                    expected="names that no other service of the environment has",
                    got=f"{host} is {name}'s",
                    next_step=f"take it from {name} and release that first, or choose another name",
                )


def _in_the_way(place: Place, others: Iterable[Taken]) -> Taken | None:
    return next((one for one in others if not one[1].leaves_room_for(place)), None)


def _taken_by(other: Taken) -> str:
    name, place = other
    return f"taken by {name}" + (f", shared by host name ({', '.join(place.hosts)})" if place.hosts else "")


def _way_to_share(hosts: tuple[str, ...], other: Taken | None) -> str:
    if other is None or bool(hosts) == bool(other[1].hosts):
        return ""
    return f"give {f'{other[0]} host names too' if hosts else 'the service host names'}: run.hosts"
