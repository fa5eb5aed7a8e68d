"""How many pushes a second the receiver takes, against Prefect's own way of making runs one by one.

Twice: pushes to one branch, each on top of the one before, where those that wait together become one run; and
pushes to 50 services, none on top of another: as many runs as deliveries. The receiver keeps on disk what
Prefect is too slow for; how long Prefect needs after the last answer is printed too.

python -m bench.webhook                  # on SQLite
PREFECT_API_DATABASE_CONNECTION_URL=postgresql+asyncpg://… python -m bench.webhook
"""

import http.client
import itertools
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments import stack
from deployments.machine.home import Home, free_ports
from deployments.webhook.signature import sign

SENDERS = (1, 10, 50)
SECONDS = 8.0
BURST = 500
SERIAL = 50
START_SECONDS = 60
STORE_SECONDS = 300
ZERO = "0" * 40
SECRET = secrets.token_urlsafe(24)
SERVICES = 50
ENVIRONMENTS = """
environments:
  local:
    branch: main
    services: [{name: iris, repository: acme/models}, OTHERS]
    registry: {prefix: "${registry}"}
    target: {home: "${home}", node: "${node}", ports: "${ports}"}
    store: {path: "${home}/store"}
""".replace("OTHERS", ", ".join(f"{{name: s{n}, repository: acme/s{n}}}" for n in range(SERVICES)))


@dataclass
class OneBranch:
    """Every push is on top of the one before."""

    name = "one branch"
    head: str = ZERO
    lock: threading.Lock = field(default_factory=threading.Lock)

    def push(self) -> dict[str, Any]:
        with self.lock:
            before, self.head = self.head, secrets.token_hex(20)
            return {"before": before, "after": self.head, "repository": {"full_name": "acme/models"}}


@dataclass
class Apart:
    """No push is on top of one that waits: 50 services take turns, and the push between two is never sent."""

    name = "apart"
    turn: Iterator[int] = field(default_factory=itertools.count)

    def push(self) -> dict[str, Any]:
        name = f"acme/s{next(self.turn) % SERVICES}"
        return {
            "before": secrets.token_hex(20),
            "after": secrets.token_hex(20),
            "repository": {"full_name": name},
        }


@dataclass
class Result:
    """What came of the deliveries. Times in seconds."""

    latencies: list[float] = field(default_factory=list)  # of the accepted
    refused: Counter[str] = field(default_factory=Counter)  # by the reason
    failures: list[str] = field(default_factory=list)
    runs: set[str] = field(default_factory=set)
    seconds: float = 0.0
    stored_after: float = 0.0  # from the last answer on

    def line(self, name: str, one_by_one: float) -> str:
        """`one_by_one`: runs a second by Prefect's own client, in the same run of this bench."""
        taken = len(self.latencies) / self.seconds
        stored = len(self.latencies) / (self.seconds + self.stored_after)
        times = sorted(self.latencies) or [float("nan")]
        p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
        middle = statistics.median(times)
        return (
            f"{name:<24} {taken:7.1f}/s ({taken / one_by_one:4.1f}x, stored {stored / one_by_one:4.1f}x)"
            f"  p50 {middle * 1000:6.0f} ms  p99 {p99 * 1000:6.0f} ms"
            f"  accepted {len(self.latencies):4}, all stored after {self.stored_after:5.1f} s"
            f"  503 {self.refused.total():4}  failed {len(self.failures):3}"
        )


def deliver(
    connection: http.client.HTTPConnection, pushes: OneBranch | Apart, result: Result, lock: threading.Lock
) -> None:
    """One push of a new commit, as GitHub sends it."""
    push = {
        **pushes.push(),
        "ref": "refs/heads/main",
        "commits": [{"modified": ["app.py"]}],
        "padding": "x" * 7000,  # a common push has this size
    }
    body = json.dumps(push).encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": secrets.token_hex(16),
        "X-Hub-Signature-256": sign(SECRET, body),
    }
    started = time.monotonic()
    try:
        connection.request("POST", "/webhooks/github", body, headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        connection.close()
        with lock:
            result.failures.append(repr(error))
        return
    with lock:
        if answer.status == 202:
            result.latencies.append(time.monotonic() - started)
            result.runs |= {run["flow_run"] for run in said["runs"]}
        else:
            result.refused[f"{answer.status}: {said['reason']}"] += 1


def steady(port: int, senders: int, pushes: OneBranch | Apart) -> Result:
    """Every sender sends its next when the one before was answered."""
    result, lock, began = Result(), threading.Lock(), time.monotonic()

    def send(_: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        while time.monotonic() < began + SECONDS:
            deliver(connection, pushes, result, lock)
        connection.close()

    with ThreadPoolExecutor(senders) as pool:
        list(pool.map(send, range(senders)))
    result.seconds = time.monotonic() - began
    return result


def burst(port: int, count: int, pushes: OneBranch | Apart) -> Result:
    """All at once."""
    result, lock, together = Result(), threading.Lock(), threading.Barrier(count)

    def send(_: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        together.wait(60)
        deliver(connection, pushes, result, lock)
        connection.close()

    began = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(send, range(count)))
    result.seconds = time.monotonic() - began
    return result


def serial(count: int) -> float:
    """Runs a second that Prefect's own client makes one after the other."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - it must know its server first

    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("release/release").id
        began = time.monotonic()
        for _ in range(count):
            client.create_flow_run_from_deployment(deployment, parameters={"ref": "main"})
        return count / (time.monotonic() - began)


def stored() -> set[str]:
    """The runs of ours that Prefect has."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags  # noqa: PLC0415

    ours = FlowRunFilter(tags=FlowRunFilterTags(all_=["pushed"]))
    found: list[str] = []
    with get_client(sync_client=True) as client:
        while page := client.read_flow_runs(flow_run_filter=ours, limit=200, offset=len(found)):
            found += [str(run.id) for run in page]
    return set(found)


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


@contextmanager
def receiver(folder: Path) -> Iterator[tuple[int, int]]:
    """Prefect's server and a receiver, each a process; port and process id of the receiver."""
    home = Home(folder / "home")
    file = folder / "environments.yaml"
    file.write_text(ENVIRONMENTS)
    os.environ["MODEL_DEPLOY_HOME"] = str(home.path)
    os.environ.pop("PREFECT_API_URL", None)
    process = None
    try:
        stack.ensure_server(home)
        os.environ.update(stack.environment(home))
        stack.register_flows(home, in_containers=False)
        from pydantic import SecretStr  # noqa: PLC0415

        from blocks.github import GitHub  # noqa: PLC0415 - imports Prefect, which must know its server first
        from deployments.apply import apply  # noqa: PLC0415

        apply(home, file)
        GitHub(token=SecretStr("none"), webhook_secret=SecretStr(SECRET)).save("github", overwrite=True)
        (port,) = free_ports(1)
        command = [str(Path(sys.executable).parent / "model-deploy"), "github", "listen", "--port", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for(port)
        yield port, process.pid
    finally:
        if process:
            process.terminate()
            process.wait(20)
        stack.stop(home)


def wait_until_stored(port: int) -> float:
    """Seconds until Prefect has everything that was accepted."""
    began = time.monotonic()
    while healthz(port)["waiting"]:
        if time.monotonic() > began + STORE_SECONDS:
            raise TimeoutError("Prefect does not get done")
        time.sleep(0.1)
    return time.monotonic() - began


def healthz(port: int) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/healthz")
        return dict(json.loads(connection.getresponse().read()))
    finally:
        connection.close()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(OSError):
            if healthz(port)["ready"]:
                return
        if time.monotonic() > deadline:
            raise TimeoutError("the receiver does not start")
        time.sleep(0.1)


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="model-deploy-bench-") as folder,
        receiver(Path(folder)) as (port, pid),
    ):
        one_by_one = serial(SERIAL)
        print(f"Prefect's own client, one by one: {one_by_one:.1f} runs/s (1x)")
        print(f"receiver's memory: {resident_mb(pid):.0f} MB")
        for pushes in (OneBranch(), Apart()):
            accepted, before = 0, stored()
            for senders in (*SENDERS, BURST):
                bursts = senders == BURST
                result = burst(port, BURST, pushes) if bursts else steady(port, senders, pushes)
                result.stored_after = wait_until_stored(port)
                accepted += len(result.latencies)
                name = f"burst of {BURST}" if bursts else f"{senders} senders"
                print(result.line(f"{pushes.name}, {name}", one_by_one), flush=True)
                for reason, times in (result.refused + Counter(result.failures)).items():
                    print(f"    {times} times {reason}")
                if missing := result.runs - (runs := stored()):
                    sys.exit(f"{len(missing)} runs were told and are not there")
            kept = len(runs - before)
            print(f"{pushes.name}: accepted {accepted} deliveries; Prefect has {kept} runs of them")
            if isinstance(pushes, Apart) and kept < accepted:  # more: one whose sender had given up
                sys.exit("runs were lost")
        print(f"receiver's memory: {resident_mb(pid):.0f} MB")
        print("\ngoals: burst on SQLite p99 <= 1000 ms, Prefect has every run; on Postgres >= 5 x one by one")


if __name__ == "__main__":
    main()
