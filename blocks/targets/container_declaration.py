"""VMs that still run Google's container startup agent: what `gcloud … update-container` did to them."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blocks.cloud_logging import CloudLogging
from blocks.targets.compute_api import Conflict, Vm
from blocks.targets.compute_engine import ComputeEngineInstances
from blocks.targets.failure import console
from blocks.targets.node import Node
from blocks.targets.target import no_check
from releases import container_declaration as declaration
from releases import fleet
from releases.cloud_log import container_name
from releases.desired import ServiceDesired
from releases.problem import Failed, Refused, Unreachable
from releases.release import Release
from releases.status import NodeStatus, Phase, ServiceStatus

ATTEMPTS = 10
POLL_SECONDS = 0.2
ANSWER_SECONDS = 3.0
BEFORE = "model-deploy-declaration-before"  # the declaration that a trial has replaced

log = logging.getLogger("model_deploy.steps")


class Before(BaseModel):
    """What a trial has replaced: of no use to any other trial."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    service: str
    generation: int
    declaration: str


class ContainerDeclaration(ComputeEngineInstances):
    """VMs that are not adopted yet: each release rewrites the declaration and restarts the VM.

    There is no edge and no agent, so nobody meets the new release before users do, no smoke check can tell
    which release answers, and nothing is taken back when the controller dies. What is desired is kept in
    the same metadata document as elsewhere, for the day the VM is adopted.
    """

    _block_type_name = "Container Declaration"
    _block_type_slug = "container-declaration"

    type: Literal["container-declaration"] = "container-declaration"  # type: ignore[assignment]
    start_seconds: float = Field(300, gt=0, description="A VM's restart, its pull and the service's start.")
    logging_endpoint: str | None = Field(None, description="As `endpoint`, for Cloud Logging.")

    @property
    def cloud_logging(self) -> CloudLogging:
        """Where the lines of these VMs' containers are: no agent follows them."""
        return CloudLogging(
            project=self.project,
            credentials=self.credentials,
            access_token_file=self.access_token_file,
            endpoint=self.logging_endpoint,
        )

    def urls(self, port: int) -> Sequence[str]:  # noqa: ARG002 - the protocol's
        """None: without an edge no check can know who answers it."""
        return []

    def url(self, port: int, host: str = "") -> str:  # noqa: ARG002 - nobody has a name here
        """The first VM's own address."""
        return self.service_url or f"http://{self._mine()[0].address}:{port}"

    def service_port(
        self, service: str, wanted: int | None, hosts: tuple[str, ...] = (), *, tls: bool = False
    ) -> int:
        """As with an edge, but for names: there is nobody to tell them apart. Raises Refused."""
        if hosts or tls:
            raise Refused(
                f"{service} cannot be told apart by host name here",
                where="run.hosts",
                expected="an edge on the VM, which only an adopted one has",
                next_step="model-deploy adopt",
            )
        return super().service_port(service, wanted)

    def answer_challenges(self, thumbprint: str, port: int) -> Sequence[str]:  # noqa: ARG002 - the protocol's
        """Nobody does: there is no edge. Raises Refused."""
        raise Refused("there is no edge that could answer ACME's challenges", next_step="model-deploy adopt")

    def ensure_node(self, *, going_back: bool = False) -> None:
        """See that the VMs run and have a declaration; say what this way costs. Raises Refused."""
        log.warning(declaration.WARNING)
        self._check_machines(going_back=going_back)
        for vm in self._vms.values():
            declaration.parse(self._declared(vm))

    def propose(self, release: Release, key_sha256: str) -> int:
        """As elsewhere; what a declaration has no place for is refused, not left out. Raises Refused."""
        lost = declaration.cannot_carry(release)
        if lost:
            raise Refused(
                f"a container declaration cannot carry {', '.join(lost)}",
                where=f"{release.service}, model-deploy.yaml",
                expected="what the VM's declaration says itself, an image and run.env",
                next_step="model-deploy adopt VM",
            )
        return super().propose(release, key_sha256)

    def shift(self, service: str, generation: int, traffic: int) -> None:
        """All or nothing: the VMs restart with the release. Raises Refused, Superseded."""
        if traffic not in {0, 100}:
            raise Refused(
                "a VM with a container declaration has no canary", next_step="model-deploy adopt VM"
            )
        super().shift(service, generation, traffic)
        for node in self._mine():
            candidate = node.desired.of(service).candidate
            if candidate is not None:
                self._restart_with(node, candidate.release, generation)

    def renew(self, service: str, generation: int) -> None:
        """Nothing: without an agent there is no window."""

    def revert(self, service: str, generation: int) -> int:
        """As before, by another restart where the release has replaced the old one. Raises Superseded."""
        parts = self._on(service, generation)
        fleet.taken_back(list(parts.values()), generation)
        # First, so that whoever finds us killed in between still sees a trial, and takes it back.
        for name, part in parts.items():
            if part.candidate is None or part.candidate.traffic:
                self._restart_as_before(self._known.nodes[name], service, generation, part.confirmed)
        return super().revert(service, generation)

    def put_back(self, service: str, generation: int, former: Release | None) -> int:
        """As before, by another restart. Raises Superseded."""
        names = list(self._on(service, generation))
        back = super().put_back(service, generation, former)
        for name in names:
            self._restart_as_before(self._known.nodes[name], service, generation, former)
        return back

    def status(self, service: str) -> ServiceStatus:
        """What is desired; whether it answers is only known while a release is going on."""
        self._read()
        return fleet.whole({node.id: _status(node.desired.of(service)) for node in self._mine()})

    def nodes(self) -> Sequence[NodeStatus]:
        """What is desired of each."""
        self._read()
        return [
            NodeStatus(
                node=node.id,
                at=datetime.now(UTC),
                services={name: _status(part) for name, part in node.desired.services.items()},
            )
            for node in self._mine()
        ]

    def wait_for(
        self,
        service: str,
        generation: int,
        arrived: Callable[[ServiceStatus], bool],
        seconds: float,
        check: Callable[[], None] = no_check,
    ) -> ServiceStatus:
        """Wait until the VMs' ports answer as the health check wants. Raises Failed, Unreachable."""
        deadline = time.monotonic() + max(seconds, self.start_seconds)
        while True:
            parts = self._on(service, generation, again=False)
            silent = self._silent(parts)
            if not silent and all(arrived(_status(part)) for part in parts.values()):
                return fleet.whole({name: _status(part) for name, part in parts.items()})
            if time.monotonic() > deadline:
                name = min(silent or parts)
                raise Unreachable(
                    f"{service} does not answer on {name} after its restart",
                    expected=f"within {self.start_seconds:.0f} s",
                    got=silent.get(name, "another state"),
                    next_step=console(name, self.project),
                )
            check()
            time.sleep(POLL_SECONDS)

    def _silent(self, parts: Mapping[str, ServiceDesired]) -> dict[str, str]:
        """The VMs that run, are to serve a release and do not answer, and why."""
        found = {}
        for name, part in parts.items():
            node, release = self._known.nodes[name], _serving(part)
            if release is not None and not node.off:  # it boots into what is declared
                why = _answer(node, release)
                found.update({name: why} if why else {})
        return found

    def _restart_with(self, node: Node, release: Release, generation: int) -> None:
        def make(vm: Vm) -> dict[str, str]:
            text, service = self._declared(vm), release.service
            kept = Before(
                service=service,
                generation=generation,
                declaration=_before(vm, service, generation) or text,
            )
            return {**vm.metadata, declaration.KEY: _with(text, release), BEFORE: kept.model_dump_json()}

        self._rewrite(node, make)

    def _restart_as_before(self, node: Node, service: str, generation: int, former: Release | None) -> None:
        def make(vm: Vm) -> dict[str, str]:
            others = {key: value for key, value in vm.metadata.items() if key != BEFORE}
            kept = _before(vm, service, generation) or _of_an_older_version(vm, former)
            return {**others, declaration.KEY: kept or self._declared(vm)}

        self._rewrite(node, make)

    def _rewrite(self, node: Node, make: Callable[[Vm], dict[str, str]]) -> None:
        """Change the declaration, whatever others change meanwhile, and restart. Raises Failed."""
        vm = self._vms[node.id]
        for _ in range(ATTEMPTS):
            vm = self._as_it_is(vm)
            try:
                sent = self._compute.set_metadata(vm, make(vm))
            except Conflict:
                continue
            self._sent[sent.vm] = (sent, vm.fingerprint)
            if self._as_it_is(vm).status == "RUNNING":
                self.carried_out(self._compute.restart(vm))
            self._known.read_at = float("-inf")
            return
        raise Failed(f"the metadata of {node.id} is being changed all the time")

    def _declared(self, vm: Vm) -> str:
        if declaration.KEY not in vm.metadata:
            raise Refused(
                f"VM {vm.id} has no container declaration",
                expected=f"the metadata key {declaration.KEY}",
                next_step="choose type: compute-engine for VMs that have the agent",
            )
        return vm.metadata[declaration.KEY]


def _with(text: str, release: Release) -> str:
    env = {"RELEASE": str(release.number), "ENVIRONMENT": release.environment, **release.run.env}
    name = container_name(release.service, release.environment, release.number)
    return declaration.with_image(text, release.image, name, env)


def _before(vm: Vm, service: str, generation: int) -> str | None:
    """The declaration that this trial has replaced; what an earlier one did is of no use any more."""
    kept = _kept(vm)
    mine = kept is not None and (kept.service, kept.generation) == (service, generation)
    return kept.declaration if kept is not None and mine else None


def _of_an_older_version(vm: Vm, former: Release | None) -> str | None:
    """It kept the text alone, of the first trial of all: with the former release it is what ran before."""
    text = vm.metadata.get(BEFORE)
    if text is None or _kept(vm) is not None:
        return None
    return _with(text, former) if former else text


def _kept(vm: Vm) -> Before | None:
    try:
        return Before.model_validate_json(vm.metadata.get(BEFORE, ""))
    except ValidationError:
        return None


def _serving(part: ServiceDesired) -> Release | None:
    candidate = part.candidate
    return candidate.release if candidate and candidate.traffic else part.confirmed


def _status(part: ServiceDesired) -> ServiceStatus:
    """What an agent would say, had it done all that is desired."""
    candidate, live = part.candidate, _serving(part)
    phase = Phase.idle if live is None else Phase.live
    if candidate is not None:
        phase = Phase.bake if candidate.traffic else Phase.verify
    return ServiceStatus(
        generation=part.generation,
        phase=phase,
        traffic=candidate.traffic if candidate else 0,
        live=live.number if live else None,
        confirmed=part.confirmed.number if part.confirmed else None,
        confirmed_generation=None if candidate else part.generation,
        candidate=candidate.release.number if candidate else None,
        public_port=live.public_port if live else None,
    )


def _answer(node: Node, release: Release) -> str:
    """Why the service does not answer as its health check wants; empty if it does."""
    path = release.run.health.path
    try:
        answer = httpx.get(f"http://{node.address}:{release.port}{path or '/'}", timeout=ANSWER_SECONDS)
    except httpx.HTTPError as error:
        return f"{type(error).__name__}: {error}"
    return "" if answer.is_success or path is None else f"status {answer.status_code} at {path}"
