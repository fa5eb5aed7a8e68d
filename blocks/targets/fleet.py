"""Many nodes as one target: the rules of releases/fleet.py, carried out on whatever keeps the documents."""

import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from blocks.secret_manager import SecretManager
from blocks.secrets import Secrets
from blocks.targets.edges import answered
from blocks.targets.failure import failed, late, unheard
from blocks.targets.machines import Machines
from blocks.targets.node import Node
from blocks.targets.silence import Silence
from blocks.targets.target import no_check
from releases import desired as desire
from releases import fleet, place
from releases.desired import ServiceDesired
from releases.place import Taken
from releases.problem import Problem, Superseded, Unreachable
from releases.release import Release
from releases.status import NodeStatus, ServiceStatus

WRITTEN_AT_ONCE = 16
POLL_SECONDS = 0.1
OPERATION_SECONDS = 3.0  # a change that shows at no edge by then: has its operation failed?

log = logging.getLogger("model_deploy.steps")


class Fleet(Machines):
    """What every target of many nodes has; the subclasses say how nodes are found and written."""

    @abstractmethod
    def _write(self, node: Node, service: str, read: ServiceDesired, wanted: ServiceDesired) -> None:
        """Change one node's document. Raises Superseded where the service is not as it was read."""

    @abstractmethod
    def _write_account(self, nodes: Sequence[Node], thumbprint: str) -> None:
        """Name the ACME account in these nodes' documents. Raises Problem."""

    @abstractmethod
    def _check_written(self) -> object:
        """See whether a change that was taken has failed since. Raises Problem."""

    def service_port(
        self, service: str, wanted: int | None, hosts: tuple[str, ...] = (), *, tls: bool = False
    ) -> int:
        """The service's port at the edge, as the nodes' documents have it. Raises Refused."""
        self._read()
        ports = place.ports_for(service, self.ports, self.tls_ports, tls=tls)
        return place.choose(service, wanted, hosts, ports, _taken(self._mine()))

    def answer_challenges(self, thumbprint: str, port: int) -> Sequence[str]:
        """Name the account in the documents that do not, of nodes that have just come too. Raises Problem."""
        place.challenge_port(port, self.ports)
        self._known.read_at = float("-inf")
        self._read()
        urls = self.urls(port)
        behind = [node for node in self._mine() if node.desired.acme != thumbprint]
        if behind:
            self._write_account(behind, thumbprint)
            self._known.read_at = float("-inf")
        return urls

    @property
    def secrets(self) -> Secrets:
        """Secret Manager of the nodes' project."""
        return SecretManager(self, self.project, self.secrets_endpoint)

    def desired(self, service: str) -> ServiceDesired:
        """What was desired last on any node."""
        return fleet.latest([node.desired.of(service) for node in self._read().values()])

    def propose(self, release: Release, key_sha256: str) -> int:
        """Put the release on trial on these nodes; what was written is taken back if one refuses."""
        nodes = self._read()
        if release.restores is None:
            self._check_machines()
        place.check(release, _taken(nodes.values()))
        parts = {name: node.desired.of(release.service) for name, node in nodes.items()}
        last = fleet.latest(list(parts.values()))
        wanted = fleet.proposed(
            list(parts.values()),
            release,
            key_sha256,
            self.window(release),
            reverted=last.generation in self._reverted(release.service, parts, last),
        )
        behind = [node.id for node in self._mine() if parts[node.id].generation != wanted.generation]
        mine = dict.fromkeys(behind, wanted)
        written, problems = self._write_each(release.service, mine)
        if problems:
            back = desire.revert(wanted, wanted.generation)
            self._write_each(release.service, dict.fromkeys(written, back))
            raise problems[0]
        return wanted.generation

    def shift(self, service: str, generation: int, traffic: int) -> None:
        """Give the candidate more or less traffic, on all these nodes. Raises Superseded."""
        self._change(service, self._mine_of(service), lambda now: desire.shift(now, generation, traffic))

    def window(self, release: Release) -> float:
        """Seconds until the last wave has had its time."""
        return fleet.window(release, len(fleet.split(list(self._read(again=False)), self.max_unavailable)))

    def renew(self, service: str, generation: int) -> None:
        """Have the windows of the nodes that serve the candidate counted anew. Raises Superseded."""
        on_it = self._on(service, generation)
        serving = {name: one for name, one in on_it.items() if one.candidate and one.candidate.traffic}
        self._change(service, serving, lambda now: desire.renew(now, generation))

    def confirm(self, service: str, generation: int) -> None:
        """Make the candidate the confirmed release wherever it is. Raises Superseded."""
        self._change(service, self._on(service, generation), lambda now: desire.confirm(now, generation))

    def revert(self, service: str, generation: int) -> int:
        """Take the generation back wherever it is; returns the new one. Raises Superseded."""
        on_it = self._on(service, generation)
        wanted = fleet.taken_back(list(on_it.values()), generation)
        self._change(service, on_it, lambda _: wanted)
        return wanted.generation

    def put_back(self, service: str, generation: int, former: Release | None) -> int:
        """Make the former release the confirmed one wherever this generation is. Raises Superseded."""
        on_it = self._on(service, generation)
        self._change(service, on_it, lambda now: desire.put_back(now, generation, former))
        return generation + 1

    def status(self, service: str) -> ServiceStatus:
        """What the nodes that answer say of the service, as one. Raises Unreachable if none does."""
        found = answered(self._ask(), (node.id for node in self._mine()))
        if not found:
            raise Unreachable("no node's edge answers", next_step="model-deploy status")
        return fleet.whole({name: one.services.get(service, ServiceStatus()) for name, one in found.items()})

    def nodes(self) -> Sequence[NodeStatus]:
        """What each node says of itself; of one that does not answer, that."""
        return [
            one.model_copy(update={"node": name})
            if isinstance(one, NodeStatus)
            else NodeStatus.model_validate({"node": name, "at": 0, "problem": f"it does not answer: {one}"})
            for name, one in self._ask().items()
        ]

    def wait_for(
        self,
        service: str,
        generation: int,
        arrived: Callable[[ServiceStatus], bool],
        seconds: float,
        check: Callable[[], None] = no_check,
    ) -> ServiceStatus:
        """Wait until all its nodes that run report it. Raises Failed when one is reverted, Unreachable."""
        started = looked = time.monotonic()
        parts = self._on(service, generation, again=False)
        on_it = [name for name in parts if not self._known.nodes[name].off]
        there: dict[str, ServiceStatus] = {}
        silence = Silence(on_it)
        while True:
            waiting = {name: self._known.nodes[name] for name in on_it if name not in there}
            answers = self._known.edges.ask(self._status_urls(waiting))
            for name, one in answered(answers, waiting).items():
                status = one.services.get(service, ServiceStatus())
                if generation in status.reverted:
                    raise failed(service, status.reverted[generation], name)
                if status.generation >= generation and arrived(status):
                    there[name] = status
            if len(there) == len(on_it):
                return fleet.whole(there)
            if silent := silence.hear(answers):
                self._check_alone(service, silent, str(answers[silent]))
            now = time.monotonic()
            if now - started > seconds:
                behind = {name: answers[name] for name in waiting if name not in there}
                raise late(service, seconds, behind, self.project)
            if now - looked > OPERATION_SECONDS and unheard(service, generation, answers):
                looked = now
                self._check_written()
            check()
            time.sleep(POLL_SECONDS)

    def _change(
        self,
        service: str,
        parts: Mapping[str, ServiceDesired],
        make: Callable[[ServiceDesired], ServiceDesired],
    ) -> None:
        """All or none begins; one node that cannot be written does not keep the others waiting."""
        wanted = {name: make(part) for name, part in parts.items()}
        _, problems = self._write_each(
            service, {name: one for name, one in wanted.items() if one != parts[name]}
        )
        if problems:
            raise problems[0]

    def _write_each(
        self, service: str, wanted: Mapping[str, ServiceDesired]
    ) -> tuple[list[str], list[Problem]]:
        nodes = self._known.nodes

        def write(name: str) -> Problem | None:
            try:
                self._write(nodes[name], service, nodes[name].desired.of(service), wanted[name])
            except Problem as problem:
                return problem
            return None

        with ThreadPoolExecutor(min(WRITTEN_AT_ONCE, max(1, len(wanted)))) as pool:
            came = dict(zip(wanted, pool.map(write, wanted), strict=True))
        written = [name for name, problem in came.items() if problem is None]
        self._written(service, {name: wanted[name] for name in written})
        problems = [problem for problem in came.values() if problem]
        return written, sorted(problems, key=lambda one: not isinstance(one, Superseded))

    def _written(self, service: str, parts: Mapping[str, ServiceDesired]) -> None:
        """Know what we wrote, and that the next writer must read what Google made of it."""
        nodes = self._known.nodes
        for name, part in parts.items():
            text = fleet.document(nodes[name].document, service, part)
            nodes[name] = replace(nodes[name], document=text)
        self._known.read_at = float("-inf")

    def _reverted(self, service: str, parts: Mapping[str, ServiceDesired], last: ServiceDesired) -> set[int]:
        """The generation if every node on trial with it has said that it was taken back."""
        if last.candidate is None:
            return set()
        on_trial = [name for name, part in parts.items() if part.generation == last.generation]
        on_trial = [name for name in on_trial if not self._known.nodes[name].off]  # a boot takes it back
        urls = self._status_urls({name: self._known.nodes[name] for name in on_trial})
        answers = answered(self._known.edges.ask(urls), on_trial)
        said = [one.services.get(service, ServiceStatus()).reverted for one in answers.values()]
        everyone = len(said) == len(on_trial) and all(last.generation in one for one in said)
        return {last.generation} if everyone else set()


def _taken(nodes: Iterable[Node]) -> list[Taken]:
    return [one for node in nodes for one in place.taken(node.desired)]
