"""The agent: watches what is desired, runs one swapper per service, reports."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from agent.answer_times import AnswerTimes
from agent.certificates import Certificates
from agent.challenges import Challenges
from agent.edge import Edge
from agent.engine import AWAY, Engine
from agent.images import Images
from agent.kept import Kept
from agent.memory import Disk
from agent.models import Models, remove
from agent.room import write_with_room
from agent.sources import Unreadable
from agent.surroundings import Surroundings
from agent.swapper import Node, Swapper
from releases.desired import FORMAT, Desired, ServiceDesired
from releases.release import Release
from releases.status import NodeStatus, ServiceStatus
from releases.swap_memory import Clock
from releases.wrong_value import briefly

RETRY_SECONDS = 2.0
MODELS = Path("/models")  # mounted from the host's --models


class Agent:
    """Its surroundings are told the node's status whenever it has changed."""

    def __init__(
        self,
        node: str,
        around: Surroundings,
        engine: Engine,
        edge: Edge,
        disk: Disk,
        clock: Callable[[], Clock],
    ) -> None:
        self.source = around.source(engine)
        self.tell = around.tell
        images = Kept(disk, "images", self.needed_images, engine.remove_image)
        kept = Kept(disk, "models", self.needed_models, partial(remove, MODELS))

        def make_room() -> int:
            return images.free() + kept.free()

        disk.room.retired = edge.make_room = make_room
        models = Models(MODELS, around.models, kept, make_room)
        certificates = Certificates(edge, around.secrets)
        certificates.changed = self.wake
        self.challenges = Challenges(edge)
        images_here = Images(engine, images, make_room)
        self.shared = Node(engine, edge, disk, images_here, models, clock, certificates, AnswerTimes())
        self.document: bytes | None = None
        self.saved: bytes | None = None
        self.desired = Desired()
        self.status = NodeStatus(node=node, agent=around.image, at=datetime.now(UTC))
        self.told = time.monotonic()
        self.keys: dict[str, str] = {}  # service → its last candidate's; who asks must show the token
        self.swappers: dict[str, Swapper] = {}
        self.lock = threading.Lock()

    def begin(self) -> None:
        """Know what is desired; where it cannot be had now, what was desired last."""
        self.look()
        if self.document is None:
            kept = self.shared.disk.document()
            if kept is not None:
                try:
                    self._take(kept, understood(kept))
                except Unreadable as error:  # a newer agent has kept it
                    self._problem(str(error))

    def watch(self) -> None:
        """For ever."""
        while True:
            self.look()

    def look(self) -> None:
        """Take the document if it is another; what cannot be read or understood changes nothing."""
        try:
            document = self.source.next()
            if document is None:
                return
            desired = self.desired if document == self.document else understood(document)
        except Unreadable as error:
            self._problem(str(error))
            return
        try:
            if document != self.document:
                self._take(document, desired)
            self._save(document)
        except OSError as error:
            self.document = None  # taken again at the next look
            self._problem(f"the desired state cannot be kept on the disk: {error.strerror or error}")
            return
        self._problem("")

    def _save(self, document: bytes) -> None:
        if document != self.saved:
            self.shared.disk.save_document(document)
            self.saved = document
        self.shared.disk.recover()

    def _take(self, document: bytes, desired: Desired) -> None:
        self.document, self.desired = document, desired
        self.keys |= {
            name: one.candidate.key_sha256 for name, one in desired.services.items() if one.candidate
        }
        self.wake()
        services = set(desired.services) | self.shared.disk.services()
        new = {service: self._swapper(service) for service in services - set(self.swappers)}
        self.swappers |= new
        # Only now: the first one that tells the edge tells it every service known by then, and no other.
        for service, swapper in new.items():
            threading.Thread(target=swapper.run, name=service, daemon=True).start()
        self.challenges.want(desired.acme)  # now that the edge knows every service

    def _swapper(self, service: str) -> Swapper:
        swapper = Swapper(service, self.shared, lambda: self.wanted(service), self.report)
        if swapper.memory.confirmed is not None or swapper.memory.trial is not None:
            self.shared.edge.remember(swapper.at_the_edge(self.wanted(service)))
        return swapper

    def wake(self) -> None:
        """Have every service looked at again."""
        for swapper in list(self.swappers.values()):
            swapper.wake.set()

    def wanted(self, service: str) -> ServiceDesired:
        """What the document says now."""
        return self.desired.of(service)

    def environment(self, service: str) -> str:
        """Which one the service is in."""
        wanted = self.wanted(service)
        release = wanted.confirmed or (wanted.candidate.release if wanted.candidate else None)
        return release.environment if release else "unknown"

    def needed_images(self) -> set[str]:
        """The images that are live, confirmed or on trial; the engine keeps those that a container has."""
        return {release.image for release in self._needed()}

    def needed_models(self) -> set[str]:
        """The models that are live, confirmed, on trial, or mounted into any container."""
        return {release.model_sha256 for release in self._needed()} | self.shared.engine.models_in_use()

    def _needed(self) -> list[Release]:
        wanted = list(self.desired.services.values())
        releases = [one.confirmed for one in wanted] + [
            swapper.memory.confirmed for swapper in list(self.swappers.values())
        ]
        releases += [one.candidate.release for one in wanted if one.candidate]
        return [release for release in releases if release is not None]

    def report(self, service: str, status: ServiceStatus) -> None:
        """Take a service's status and publish the whole, if anything is new."""
        with self.lock:
            if self.status.services.get(service) == status:
                return
            services = {**self.status.services, service: status}
            self._publish(self.status.model_copy(update={"services": services}))

    def _problem(self, text: str) -> None:
        with self.lock:
            if self.status.problem != text:
                self._publish(self.status.model_copy(update={"problem": text}))

    def report_logs(self, text: str) -> None:
        """What keeps log lines from the store, or that nothing does any more."""
        with self.lock:
            if self.status.logs_problem != text:
                self._publish(self.status.model_copy(update={"logs_problem": text}))

    def _publish(self, status: NodeStatus) -> None:
        self.status, self.told = status.model_copy(update={"at": datetime.now(UTC)}), time.monotonic()
        with suppress(OSError):  # the status page tells it all the same
            write_with_room(lambda: self.tell(self.status), self.shared.disk.room.make)

    def shown_to(self, token: str) -> NodeStatus:
        """The status for an asker with this token."""
        age = time.monotonic() - self.told  # a clock may be wrong, or be set
        return self.status.shown_to(token, self.keys).model_copy(update={"age": age})

    def listen(self) -> None:
        """Wake a service when one of its containers comes or goes."""
        while True:
            try:
                for service in self.shared.engine.comings_and_goings():
                    if service in self.swappers:
                        self.swappers[service].wake.set()
            except AWAY:
                pass
            time.sleep(RETRY_SECONDS)


def understood(document: bytes) -> Desired:
    """The document read. Raises Unreadable: said of a newer format first, whose shape may be any."""
    try:
        raw = json.loads(document)
        known = raw.get("format", FORMAT) if isinstance(raw, dict) else FORMAT
        if isinstance(known, int) and known > FORMAT:
            raise Unreadable(f"the desired state has format {known}; this agent knows {FORMAT}")
        return Desired.model_validate(raw)
    except ValidationError as error:
        raise Unreadable(f"the desired state cannot be read: {briefly(error)}") from None
    except ValueError as error:
        raise Unreadable(f"the desired state cannot be read: {error}") from error
