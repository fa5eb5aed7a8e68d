"""Certificates of services whose TLS ends at this node's edge: had by reference, looked at, given to HAProxy.

A certificate is never dropped for a worse one: what is not fit is reported, and the one before goes on.
The private key is in the secret, in HAProxy and in a file of the edge's volume that only root reads.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent import pem
from agent.edge import Edge, EdgeError
from agent.failure import StepFailed
from agent.secrets import Secrets
from releases.place import Place
from releases.release import Release
from releases.secret_reference import SecretReference
from releases.status import CertificateStatus, Phase

SOON = timedelta(days=14)


@dataclass(frozen=True)
class Known:
    """What was found out about a certificate last."""

    expires: datetime | None = None
    problem: str = ""


class Certificates:
    """Those that the edge's places name; a thread of its own looks for new versions."""

    def __init__(self, edge: Edge, secrets: Secrets) -> None:
        self.edge = edge
        self.secrets = secrets
        self.lock = threading.Lock()
        self.known: dict[str, Known] = {}
        self.coming: dict[str, str] = {}  # service → that of a release which has no place at the edge yet
        self.changed: Callable[[], None] = lambda: None

    def run(self) -> None:
        """Look for new versions, for ever."""
        while True:
            time.sleep(self.secrets.look_every)
            before = dict(self.known)
            self.renew()
            if self.known != before:
                self.changed()

    def renew(self) -> None:
        """Every certificate that is in use, as its secret has it now. What goes wrong is in the status."""
        for reference, hosts in self._in_use().items():
            with self.lock:
                self._renew(reference, hosts)

    def require(self, release: Release) -> None:
        """Have the certificate of a release that is to start. Raises StepFailed; what serves goes on."""
        if not release.certificate:
            return
        with self.lock:
            self.coming[release.service] = release.certificate
            hosts = sorted({*release.hosts, *self._in_use().get(release.certificate, [])})
            problem = self._renew(release.certificate, hosts)
        if problem:
            raise StepFailed(
                Phase.start,
                f"the certificate of {release.service} cannot be used: {problem}",
                next_step=f"put a chain and its key, as PEM, into the secret {release.certificate}",
            )

    def is_missing(self, release: Release) -> bool:
        """Whether the release has a certificate of which the edge has no version at all."""
        return bool(release.certificate) and not self._path(release.certificate).exists()

    def status(self, places: Iterable[Place]) -> CertificateStatus | None:
        """Of the first place that has one."""
        reference = next((one.certificate for one in places if one.certificate), "")
        if not reference:
            return None
        known = self.known.get(reference, Known())
        soon = known.expires is not None and known.expires - datetime.now(UTC) < SOON
        problem = known.problem or ("it ends soon" if soon else "")
        return CertificateStatus(secret=reference, expires=known.expires, problem=problem)

    def prune(self, service: str) -> None:
        """The service is at rest, so nothing of it is coming: forget what no place names any more."""
        with self.lock:
            self.coming.pop(service, None)
            used = {_file(reference) for reference in (*self._in_use(), *self.coming.values())}
            for path in self.edge.certificates():
                if path.name not in used:
                    self.edge.forget_certificate(path)

    def _in_use(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for service in list(self.edge.services.values()):
            for place in service.places:
                if place.certificate:
                    found.setdefault(place.certificate, []).extend(place.hosts)
        return found

    def _renew(self, reference: str, hosts: list[str]) -> str:
        """Why the secret's version is not used; empty: it is."""
        path = self._path(reference)
        problem, expires = "", None
        try:
            text = pem.normal(self._read(reference))
            expires = pem.check(text, hosts, self.edge.folder)
            if not path.exists() or path.read_text(encoding="ascii") != text:
                self.edge.use_certificate(path, text)
        except (pem.Unfit, EdgeError) as error:
            problem, expires = str(error), self._serving(path)
        except StepFailed as error:
            problem, expires = error.failure.reason, self._serving(path)
        except OSError as error:
            problem, expires = f"{error}", self._serving(path)
        self.known[reference] = Known(expires, problem)
        return problem

    def _path(self, reference: str) -> Path:
        return self.edge.folder / "certs" / _file(reference)

    def _read(self, reference: str) -> str:
        parsed = SecretReference.parse(reference)
        if parsed is None:
            raise pem.Unfit(f"{reference!r} names no secret")
        return self.secrets.read(parsed)

    def _serving(self, path: Path) -> datetime | None:
        """When the one that goes on being served ends; None: there is none."""
        try:
            return pem.expires(path)
        except (pem.Unfit, OSError):
            return None


def _file(reference: str) -> str:
    return f"{reference.replace('/', '@')}.pem"
