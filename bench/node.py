"""A node on this machine of one's own, with a service released on it step by step; no Prefect server."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from tempfile import mkdtemp

from blocks.targets.local import LocalTarget
from deployments.machine.home import Home, free_ports
from deployments.machine.images import agent_image
from releases.release import Release, ReleasedModel
from releases.spec import Run
from releases.status import Phase

SECONDS = 30.0


@dataclass
class LocalNode:
    """A node, and the steps of releasing the service `sample` on it."""

    target: LocalTarget
    image: str
    numbers: int = 0

    @cached_property
    def port(self) -> int:
        return self.target.service_port("sample", None)

    def release(
        self,
        behaviour: str = "",
        window: float = 30,
        model: ReleasedModel | None = None,
        service: str = "sample",
        **run: object,
    ) -> Release:
        self.numbers += 1
        health = {"path": "/healthz", "timeout": 10}
        settings = {"health": health, "stop_grace": 1, "drain": 5, "env": {"BEHAVIOUR": behaviour}, **run}
        made = Run.model_validate(settings)
        names, tls = made.names("local"), bool(made.certificate("local"))
        port = self.target.service_port(service, made.public_port, names, tls=tls)
        return Release(
            service=service,
            environment="local",
            number=self.numbers,
            image=self.image,
            version=str(self.numbers),
            model=model,
            port=8000,
            public_port=port,
            run=made,
            confirm_window=window,
            created=datetime.now(UTC),
        )

    def propose(self, release: Release, token: str = "t") -> int:
        return self.target.propose(release, hashlib.sha256(token.encode()).hexdigest())

    def verified(self, release: Release, token: str = "t") -> int:
        generation = self.propose(release, token)
        self.target.wait_for(release.service, generation, lambda s: s.phase is Phase.verify, SECONDS)
        return generation

    def switched(self, release: Release, traffic: int = 100) -> int:
        generation = self.verified(release)
        self.shifted(generation, traffic, release.service)
        return generation

    def shifted(self, generation: int, traffic: int, service: str = "sample") -> None:
        self.target.shift(service, generation, traffic)
        self.target.wait_for(
            service, generation, lambda s: s.traffic == traffic and s.phase is Phase.bake, SECONDS
        )

    def confirmed(self, release: Release) -> int:
        generation = self.switched(release)
        self.target.confirm(release.service, generation)
        self.target.wait_for(
            release.service, generation, lambda s: s.confirmed_generation == generation, SECONDS
        )
        return generation


@contextmanager
def local_node(image: str) -> Iterator[LocalNode]:
    home = Home(Path(mkdtemp(prefix="model-deploy-node-")))
    home.prepare()
    *ports, tls_port = free_ports(4)
    target = LocalTarget(
        home=home.path,
        node=f"md-test-{token_hex(3)}",
        ports=ports,
        tls_ports=[tls_port],
        agent_image=agent_image(),
    )
    try:
        target.ensure_node()
        yield LocalNode(target, image)
    finally:
        target.remove_node()
        shutil.rmtree(home.path, ignore_errors=True)
