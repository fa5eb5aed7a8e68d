"""Pebble, the test authority of Let's Encrypt's makers, with a name server of its own (Debian's package `pebble`)."""

import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from deployments.machine.engine import install, may_install
from deployments.machine.home import free_ports
from tests.certificates import certificate
from tests.controllers import wait_until

PROGRAMS = ("pebble", "pebble-challtestsrv")
SECONDS = 30
MISSING = "pebble is missing, a test authority for ACME: apt-get install pebble (Debian 12, Ubuntu 24.04)"


@dataclass
class Pebble:
    """It comes to `port` of whatever address its name server says, for any name 127.0.0.1."""

    folder: Path
    port: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def __post_init__(self) -> None:
        self.listens, self.manages, self.names, self.told = free_ports(4)
        pem = certificate("localhost")
        self.key = "-----BEGIN PRIVATE" + pem.partition("-----BEGIN PRIVATE")[2]
        self.own = pem.partition("-----BEGIN PRIVATE")[0]
        (self.folder / "own.pem").write_text(self.own)
        (self.folder / "own.key").write_text(self.key)
        self.trust()

    @property
    def directory(self) -> str:
        return f"https://localhost:{self.listens}/dir"

    @property
    def trusted(self) -> Path:
        """For SSL_CERT_FILE: whom this machine trusts, and Pebble."""
        return self.folder / "trusted.pem"

    def trust(self, *more: str) -> None:
        usual = Path(ssl.get_default_verify_paths().cafile or os.devnull).read_text()
        fresh = self.folder / "trusted.new"
        fresh.write_text("\n".join([usual, self.own, *more]))
        fresh.replace(self.trusted)

    def start(self, port: int) -> None:
        self.port = port
        config = {
            "listenAddress": f"127.0.0.1:{self.listens}",
            "managementListenAddress": f"127.0.0.1:{self.manages}",
            "certificate": str(self.folder / "own.pem"),
            "privateKey": str(self.folder / "own.key"),
            "httpPort": port,
            "tlsPort": 1,
        }
        (self.folder / "config.json").write_text(json.dumps({"pebble": config}))
        bound = [f"-{kind}=" for kind in ("http01", "https01", "tlsalpn01", "defaultIPv6")]
        names = f"127.0.0.1:{self.names}"
        self._run("pebble-challtestsrv", f"-dns01={names}", f"-management=127.0.0.1:{self.told}", *bound)
        self._run("pebble", f"-config={self.folder}/config.json", f"-dnsserver={names}", "-strict")
        wait_until(self._up, SECONDS)
        self.trust(self.root())

    def _run(self, *argv: str) -> None:
        with (self.folder / f"{argv[0]}.log").open("ab") as log:
            at_once = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0", **self.environment}
            self.processes.append(subprocess.Popen(argv, env=at_once, stdout=log, stderr=log))

    def _up(self) -> bool:
        assert all(one.poll() is None for one in self.processes), self.log
        try:
            httpx.get(f"http://127.0.0.1:{self.told}/", timeout=2)
            return self._ask(self.directory).is_success and bool(self.root())
        except httpx.HTTPError:
            return False

    def _ask(self, url: str) -> httpx.Response:
        return httpx.get(url, verify=ssl.create_default_context(cadata=self.own), timeout=5)

    def root(self) -> str:
        """Whom its certificates are to be traced back to."""
        return self._ask(f"https://localhost:{self.manages}/roots/0").raise_for_status().text

    def leads(self, name: str, address: str = "127.0.0.1") -> None:
        """Where the name leads; nowhere if it is empty."""
        at = f"http://127.0.0.1:{self.told}"
        httpx.post(f"{at}/clear-a", json={"host": f"{name}."}, timeout=5).raise_for_status()
        httpx.post(f"{at}/clear-servfail", json={"host": f"{name}."}, timeout=5).raise_for_status()
        if address:
            body = {"host": f"{name}.", "addresses": [address]}
            httpx.post(f"{at}/add-a", json=body, timeout=5).raise_for_status()
        else:
            httpx.post(f"{at}/set-servfail", json={"host": f"{name}."}, timeout=5).raise_for_status()

    @property
    def log(self) -> str:
        return (self.folder / "pebble.log").read_text()

    def times(self, text: str) -> int:
        """How often the log says so."""
        return self.log.count(text)

    def stop(self) -> None:
        for one in self.processes:
            one.kill()
            one.wait()
        self.processes.clear()


def is_there() -> bool:
    return all(shutil.which(one) for one in PROGRAMS)


@contextmanager
def pebble(folder: Path, port: int = 0, **environment: str) -> Iterator[Pebble]:
    """Started at once where the port is known."""
    if not is_there():
        pytest.skip(MISSING)
    folder.mkdir(parents=True, exist_ok=True)
    made = Pebble(folder, environment=environment)
    try:
        if port:
            made.start(port)
        yield made
    finally:
        made.stop()


if __name__ == "__main__":  # what script/test does before its tests
    if not is_there() and may_install():
        install("pebble")
    sys.stdout.write("  pebble: there\n" if is_there() else f"  no tests of ACME: {MISSING}\n")
