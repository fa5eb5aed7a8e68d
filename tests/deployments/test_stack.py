"""A Prefect API that somebody else runs: found only with the right key."""

import json
import os
import signal
import socketserver
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from deployments import local, stack
from deployments.github_commands import listen
from deployments.machine.home import Home
from deployments.machine.registry import unreachable
from deployments.processes import SERVER_HOST, Process
from deployments.set_up import SetUp
from releases.problem import BadInput, Unreachable
from tests.controllers import wait_until
from tests.http_server import Answer, Request, serving

LET_IN = {"Bearer pnu_right", "Basic YW5uOnJpZ2h0"}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    def prefect(request: Request) -> Answer:
        known = request.path == "/api/accounts/a/workspaces/w/health"
        right = request.headers.get("Authorization") in LET_IN
        return Answer(status=(200 if right else 401) if known else 404)

    with serving(prefect) as address:
        workspace = f"{address}/api/accounts/a/workspaces/w"
        monkeypatch.setenv("PREFECT_API_URL", workspace)
        for name in ("KEY", "AUTH_STRING"):
            monkeypatch.delenv(f"PREFECT_API_{name}", raising=False)
        yield workspace


@pytest.mark.parametrize(("name", "value"), [("KEY", "pnu_right"), ("AUTH_STRING", "ann:right")])
def test_it_is_asked_with_the_key(
    api: str, tmp_path: Path, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PREFECT_API_{name}", value)
    assert stack.ensure_server(Home(tmp_path))


@pytest.mark.parametrize("key", ["", "pnu_wrong"])
def test_without_the_right_one_the_key_is_named_and_not_shown(
    api: str, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", key)
    with pytest.raises(BadInput, match="does not let us in") as refused:
        stack.ensure_server(Home(tmp_path))
    assert "PREFECT_API_KEY" in refused.value.next_step
    assert "pnu" not in str(refused.value)


def test_one_that_is_somewhere_else_does_not_answer(
    api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"{api}/elsewhere")
    with pytest.raises(Unreachable, match="does not answer"):
        stack.ensure_server(Home(tmp_path))


def test_what_speaks_no_http_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program has the port."""
    with listening_otherwise() as port:
        assert unreachable(port)
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
        with pytest.raises(Unreachable, match="does not answer"):
            stack.ensure_server(Home(tmp_path))


@contextmanager
def listening_otherwise() -> Iterator[int]:
    """The port of a server that greets everybody as an SSH server does."""

    class Greeting(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Greeting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_the_ui_is_where_its_api_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_UI_URL", raising=False)
    for api, ui in (
        (
            "https://api.prefect.cloud/api/accounts/a-1/workspaces/w-2",
            "https://app.prefect.cloud/account/a-1/workspace/w-2",
        ),
        ("http://10.0.0.1:4200/api", "http://10.0.0.1:4200"),
    ):
        monkeypatch.setenv("PREFECT_API_URL", api)
        assert stack.interface(Home(tmp_path)) == ui


def test_a_process_is_found_and_ended_without_ps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    program = "import sys, time; sys.stdout.write('up'); sys.stdout.flush(); time.sleep(60)"
    monkeypatch.setattr(stack, "command", lambda *_: [sys.executable, "-c", program])
    monkeypatch.setenv("PATH", str(tmp_path))  # a minimal Debian has no procps
    stack.ensure_running(home, Process.worker)
    first = (home.path / "worker.pid").read_text()
    wait_until(lambda: (home.path / "worker.log").read_text() == "up", 10)
    stack.ensure_running(home, Process.worker)
    assert (home.path / "worker.pid").read_text() == first, "it was started twice"
    (home.path / "receiver.pid").write_text("1")  # the number went to another program
    assert stack.stop(home) == [Process.worker]
    assert os.waitpid(int(first), 0)[1] == signal.SIGTERM


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home whose processes answer nothing, and only as long as they are waited for."""
    for name in ("PREFECT_API_URL", SERVER_HOST):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(stack, "command", lambda *_: [sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr(stack, "SERVER_SECONDS", 0.5)
    home = Home(tmp_path / "home")
    home.chosen()
    yield home
    stack.stop(home)


def test_commands_that_come_while_the_server_starts_wait_for_that_one(
    own: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, started, together = stack._start, [], threading.Barrier(8)

    def counted(home: Home, process: Process) -> None:
        start(home, process)
        started.append(int((home.path / f"{process}.pid").read_text()))

    def want(_: int) -> None:
        together.wait(10)
        with pytest.raises(Unreachable, match="does not start"):
            stack.ensure_server(own)

    monkeypatch.setattr(stack, "_start", counted)
    with ThreadPoolExecutor(8) as commands:
        list(commands.map(want, range(8)))
    with pytest.raises(Unreachable, match="does not start"):
        stack.ensure_server(own)  # a later one, too
    try:
        assert stack.stop(own) == [Process.server]
        assert len(started) == 1, "the others are orphans"
    finally:
        for pid in started:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def test_a_process_that_ends_by_itself_while_it_is_stopped_is_no_failure(
    own: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.ensure_running(own, Process.worker)
    kill = os.killpg

    def just_gone(pid: int, sent: int) -> None:
        kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        kill(pid, sent)

    monkeypatch.setattr(os, "killpg", just_gone)
    assert stack.stop(own) == [Process.worker]


@pytest.mark.parametrize(
    ("listens", "asked"),
    [
        ("", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("10.0.0.7", "10.0.0.7"),
        ("fd00::7", "[fd00::7]"),
    ],
)
def test_every_process_asks_the_server_where_it_listens(
    own: Home, monkeypatch: pytest.MonkeyPatch, listens: str, asked: str
) -> None:
    monkeypatch.setenv(SERVER_HOST, listens)
    address = f"http://{asked}:{own.chosen().prefect_port}/api"
    assert stack.environment(own)["PREFECT_API_URL"] == address


def test_no_second_server_is_started_for_one_that_listens_at_another_address(
    own: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVER_HOST, "127.0.0.7")
    with pytest.raises(Unreachable, match="does not answer") as told:
        stack.ensure_server(own)
    assert "model-deploy run server" in told.value.next_step
    assert not (own.path / "server.pid").exists()


def test_a_server_that_somebody_else_runs_is_waited_for_while_it_restarts(own: Home) -> None:
    asked: list[str] = []

    def restarting(request: Request) -> Answer:
        asked.append(request.path)
        return Answer(status=503 if len(asked) < 3 else 200)

    with serving(restarting) as address:
        remembered(own, address)
        own.remember_server(elsewhere=True)
        assert stack.ensure_server(own) == address
    assert not (own.path / "server.pid").exists()


def test_what_compose_and_systemd_run_is_never_started_by_a_command(
    own: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(own, monkeypatch, start=False)
    with pytest.raises(Unreachable, match="does not answer") as told:
        stack.ensure_server(own)  # as any command does
    assert "systemctl" in told.value.next_step
    assert not (own.path / "server.pid").exists()
    with pytest.raises(Unreachable, match="does not start"):
        local.bring_up(SetUp(), [])  # takes it over, though nothing answers here
    assert stack.stop(own) == [Process.server]


def test_where_up_has_started_the_server_a_command_starts_it_again_whatever_has_run_since(
    own: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.ensure_running(own, Process.server)
    up(own, monkeypatch, start=False)  # for the work pools, says the page
    assert stack.stop(own) == [Process.server]
    with pytest.raises(Unreachable, match="does not start"):
        stack.ensure_server(own)
    assert stack.stop(own) == [Process.server]


def test_the_receiver_starts_no_server(own: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_DEPLOY_HOME", str(own.path))
    monkeypatch.setattr(stack, "environment", lambda _: {})
    with pytest.raises(Unreachable, match="does not answer") as told:
        listen()
    assert told.value.next_step == "model-deploy up"
    assert not (own.path / "server.pid").exists()


def up(home: Home, monkeypatch: pytest.MonkeyPatch, *, start: bool) -> None:
    """`model-deploy up` with nothing but a server that answers, and is gone afterwards."""
    monkeypatch.setenv("MODEL_DEPLOY_HOME", str(home.path))
    monkeypatch.setattr(stack, "environment", lambda _: {})
    monkeypatch.setattr(local, "prepare", lambda *_: None)
    monkeypatch.setattr(local, "_environments", lambda *_: "none")
    with serving(lambda _: Answer()) as address:
        remembered(home, address)
        assert local.bring_up(SetUp(), [], start=start) == address


def remembered(home: Home, address: str) -> None:
    """The server's port is that one; a file as versions wrote it that knew of no server elsewhere."""
    kept = json.loads(home.chosen().model_dump_json(exclude={"server_elsewhere"}))
    kept["prefect_port"] = int(address.rpartition(":")[2])
    (home.path / "machine.json").write_text(json.dumps(kept))
