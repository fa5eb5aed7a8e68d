"""Counts what the edge has answered, and brings each hour to the store. Nothing ever waits for it."""

import socket
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import zstandard
from pydantic import TypeAdapter, ValidationError

from agent.answer_times import AnswerTimes
from agent.logs.upload import Uploads
from agent.memory import write
from releases.edge_traffic import Tally, exported, part_key
from releases.problem import Problem
from releases.store import AlreadyExists

PORT = 9181
SAVE_SECONDS = 5.0  # so much is forgotten at most when the agent is killed
HOUR = timedelta(hours=1)
LONGEST = 4096
Counted = dict[str, dict[str, Tally]]  # environment → service and release → tally
_FILE = TypeAdapter(Counted)


class Traffic:
    """One node's counts. `environment` says where a service belongs, once that is known."""

    def __init__(
        self,
        node: str,
        folder: Path,
        environment: Callable[[str], str],
        store: Uploads | None,
        times: AnswerTimes,
    ) -> None:
        self.times = times
        self.node = node
        self.folder = folder
        self.environment = environment
        self.store = store
        self.hours: dict[datetime, Counted] = {}
        self.lock = threading.Lock()
        self._go_on()

    def start(self) -> None:
        """Listen where the edge's configuration says, and save, both in the background."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind(("", PORT))
        threading.Thread(target=self.listen, args=[listener], name="traffic", daemon=True).start()
        threading.Thread(target=self.keep, name="traffic to the store", daemon=True).start()

    def listen(self, listener: socket.socket) -> None:
        """For ever."""
        while True:
            said = listener.recv(LONGEST).decode(errors="replace")
            with self.lock:
                self.take(said, datetime.now(UTC))

    def keep(self) -> None:
        """For ever. What fails is tried again."""
        while True:
            time.sleep(SAVE_SECONDS)
            try:
                self.save(datetime.now(UTC))
            except (Problem, OSError) as error:
                print(f"the edge's counts are not in the store yet: {error}", flush=True)  # noqa: T201

    def take(self, said: str, now: datetime) -> None:
        """`SERVICE RELEASE STATUS MILLISECONDS`, as haproxy.py has it; anything else is not for us."""
        try:
            service, release, status, milliseconds = said.split()
            number = int(release) if release.isdigit() else 0
            answer = (now, int(status), int(milliseconds))
        except ValueError:
            return
        if service == "-":  # asked for a name that no service has
            return
        self.times.add(service, number, *answer)
        counted = self.hours.setdefault(now.replace(minute=0, second=0, microsecond=0), {})
        tallies = counted.setdefault(self.environment(service), {})
        tallies.setdefault(f"{service} {number}", Tally(service=service, release=number)).add(*answer)

    def save(self, now: datetime) -> None:
        """What is counted is on disk, and hours that are over are in the store. Raises Problem, OSError."""
        for hour, counted in list(self.hours.items()):
            if now < hour + HOUR:
                with self.lock:
                    data = _FILE.dump_json(counted)
                write(self._file(hour), data)
            else:
                self._upload(hour, counted)
                self._file(hour).unlink(missing_ok=True)
                del self.hours[hour]

    def _upload(self, hour: datetime, counted: Counted) -> None:
        if self.store is None:
            return
        for environment, tallies in counted.items():
            text = b"".join(exported(self.node, tallies[name]) for name in sorted(tallies))
            with tempfile.NamedTemporaryFile(dir=self.folder) as file:
                Path(file.name).write_bytes(zstandard.compress(text))
                try:
                    self.store.upload(part_key(environment, self.node, hour), Path(file.name))
                except AlreadyExists:
                    continue  # our own: its answer was lost, or we were killed then

    def _file(self, hour: datetime) -> Path:
        return self.folder / f"{hour:%Y-%m-%dT%H}.json"

    def _go_on(self) -> None:
        """Where the agent before this one was killed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in self.folder.glob("*.json"):
            try:
                hour = datetime.fromisoformat(f"{file.stem}:00:00+00:00")
                self.hours[hour] = _FILE.validate_json(file.read_bytes())
            except (ValueError, ValidationError):
                file.unlink()
