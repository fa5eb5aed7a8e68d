"""From a delivery's arrival to the first answer by the new release, in parts, on the local target.

python -m bench.push_to_live --rounds 3
"""

import argparse
import http.client
import json
import os
import secrets
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from bench.sample import SAMPLE
from bench.stage import Stage, stage
from bench.webhook import wait_for
from deployments import stack
from deployments.processes import Process, command
from deployments.webhook.signature import sign
from releases.status import RELEASE_HEADER

SECRET = secrets.token_urlsafe(24)
LIVE_SECONDS = 300.0
PAUSE = 0.005
OWN_WORK = ("tests and build", "push", "start")  # what any other way of releasing would do as well
GOAL = 8.0
ENVIRONMENTS = """
environments:
  local:
    branch: main
    services: [{name: sample, repository: acme/models, source: "%s"}]
    registry: {prefix: "${registry}"}
    target: {home: "${home}", node: "${node}", ports: "${ports}"}
    store: {path: "${home}/store"}
"""


class Service:
    """The tests' sample service in a repository of its own."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "sample"
        self.repository.mkdir()
        for name in ("Dockerfile", "app.py"):
            (self.repository / name).write_bytes((SAMPLE / name).read_bytes())
        spec = "name: sample\nrun: {health: {path: /healthz}, stop_grace: 1, drain: 1}\nsmoke: [{path: /}]\n"
        (self.repository / "model-deploy.yaml").write_text(spec)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        argv = ["git", "-C", str(self.repository), *who, *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    def change(self) -> str:
        """One line of code, as a commit."""
        with (self.repository / "app.py").open("a") as file:
            file.write(f"# {secrets.token_hex(8)}\n")
        self.git("add", "-A")
        self.git("commit", "--quiet", "-m", "change")
        return self.git("rev-parse", "HEAD")


@contextmanager
def listening(here: Stage, service: Service) -> Iterator[int]:
    """A worker and a receiver, as a team runs them; the receiver's port."""
    file = here.folder / "environments.yaml"
    file.write_text(ENVIRONMENTS % service.repository)
    os.environ.update(stack.environment(here.home))
    from pydantic import SecretStr  # noqa: PLC0415

    from blocks.github import GitHub  # noqa: PLC0415 - imports Prefect, which must know its server first

    stack.register_flows(here.home, in_containers=False)
    here.model_deploy("apply", str(file))
    GitHub(token=SecretStr("none"), webhook_secret=SecretStr(SECRET), api="http://127.0.0.1:9").save(
        "github", overwrite=True
    )
    environment = {**here.environment, **stack.environment(here.home)}
    started = [
        subprocess.Popen(
            command(process, here.home), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for process in (Process.worker, Process.receiver)
    ]
    try:
        port = here.home.chosen().receiver_port
        wait_for(port)
        yield port
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)


def deliver(port: int, commit: str) -> str:
    """The push, as GitHub sends it; the run that was stored for it."""
    push = {
        "ref": "refs/heads/main",
        "after": commit,
        "commits": [{"modified": ["app.py"]}],
        "repository": {"full_name": "acme/models", "pushed_at": time.time_ns()},
    }
    body = json.dumps(push).encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": secrets.token_hex(16),
        "X-Hub-Signature-256": sign(SECRET, body),
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/webhooks/github", body, headers)
    return str(json.loads(connection.getresponse().read())["runs"][0]["flow_run"])


def wait_until_live(here: Stage, number: int) -> None:
    """Ask as a user does until the release answers."""
    from blocks.environment import load_environment  # noqa: PLC0415

    target, deadline = load_environment("local").target, time.monotonic() + LIVE_SECONDS
    url = target.url(target.service_port("sample", None))
    with httpx.Client(timeout=5) as client:
        while time.monotonic() < deadline:
            try:
                if client.get(url).headers.get(RELEASE_HEADER) == str(number):
                    return
            except httpx.HTTPError:
                pass
            time.sleep(PAUSE)
    raise TimeoutError(f"release {number} is not live within {LIVE_SECONDS:.0f} s; {here.home.path}")


def states(here: Stage, run: str) -> dict[str, float]:
    """When the run came into each state, in seconds since 1970."""
    api = stack.api_url(here.home)
    listed: list[dict[str, Any]] = httpx.get(f"{api}/flow_run_states/", params={"flow_run_id": run}).json()
    return {one["name"]: datetime.fromisoformat(one["timestamp"]).timestamp() for one in listed}


def steps(here: Stage, number: int) -> dict[str, float]:
    """The release's steps, once its outcome is written."""
    deadline = time.monotonic() + LIVE_SECONDS
    while time.monotonic() < deadline:
        rows = json.loads(here.model_deploy("history", "sample", "--json")[1])
        ended = next((row["outcome"] for row in rows if row["release"]["number"] == number), None)
        if ended:
            return dict(ended["seconds"])
        time.sleep(0.2)
    raise TimeoutError(f"release {number} has no outcome")


def measure(here: Stage, port: int, commit: str, number: int) -> dict[str, float]:
    began = time.time()
    run = deliver(port, commit)
    accepted = time.time()
    wait_until_live(here, number)
    total = time.time() - began
    at, took = states(here, run), steps(here, number)
    parts = {
        "receiver: delivery to 202": accepted - began,
        "worker: takes the run": at["Pending"] - accepted,
        "Prefect: starts its process": at["Running"] - at["Pending"],
        **{name: took[name] for name in OWN_WORK},
    }
    return {**parts, "everything else of ours": total - sum(parts.values()), "in all": total}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with stage() as here:
        service = Service(here.folder)
        commit = service.change()
        with listening(here, service) as port:
            measure(here, port, commit, 1)  # the first one builds what the others find built
            found = [measure(here, port, service.change(), number + 2) for number in range(rounds)]
    middle = {name: statistics.median(one[name] for one in found) for name in found[0]}
    print(f"push to the first answer by the new release, median of {rounds} one-line changes\n")
    for name, seconds in middle.items():
        print(f"{name:<30}{seconds:>8.2f} s")
    ours = middle["in all"] - sum(middle[name] for name in OWN_WORK)
    prefect = middle["Prefect: starts its process"]
    print(f"\nnot tests, build, push or container start: {ours:.2f} s (goal <= {GOAL:.0f} s),")
    print(f"of which Prefect's process start: {prefect:.2f} s")


if __name__ == "__main__":
    main()
