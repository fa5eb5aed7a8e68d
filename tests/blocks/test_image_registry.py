"""A real registry, reached through a line that breaks (FAULTS.md row 11), and tags that move (row 12)."""

import secrets
import socket
import socketserver
import subprocess
import threading
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
from prefect_docker import DockerRegistryCredentials
from pydantic import SecretStr
from requests.exceptions import ReadTimeout

from blocks.docker_client import DockerClient
from blocks.google_api import GoogleApi
from blocks.image_registry import ImageRegistry
from deployments.machine.home import free_ports
from deployments.machine.registry import ensure_registry, remove_registry, start_command, unreachable
from releases.problem import Failed, Refused, Unreachable
from tests.controllers import wait_until
from tests.http_server import Answer, Request, serving
from tests.small_image import small_image

pytestmark = pytest.mark.containers


@contextmanager
def line_to(port: int, broken: int = 0, refused: int = 0) -> Iterator[tuple[int, Counter[str]]]:
    """A port in front of another, and what was met there.

    The first `broken` connections that upload are cut in the middle, the first `refused` manifests get a 503.
    """
    met = Counter[str]()

    class Line(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as behind:
                threading.Thread(target=self.back, args=[behind], daemon=True).start()
                while data := self.request.recv(65536):
                    if data.startswith(b"PATCH") and met["cut"] < broken:
                        met["cut"] += 1
                        self.request.shutdown(socket.SHUT_RDWR)
                        return
                    if data.startswith(b"PUT") and b"/manifests/" in data and met["refused"] < refused:
                        met["refused"] += 1
                        self.request.sendall(
                            b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                        )
                        return
                    behind.sendall(data)

        def back(self, behind: socket.socket) -> None:
            try:
                while data := behind.recv(65536):
                    self.request.sendall(data)
                self.request.shutdown(socket.SHUT_WR)
            except OSError:
                return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A line that breaks is what it is for."""

    with Server(("127.0.0.1", 0), Line) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], met
        server.shutdown()


@pytest.fixture
def local_image() -> Iterator[str]:
    with small_image() as image:
        yield image


@pytest.mark.parametrize("trouble", [{"broken": 1}, {"refused": 2}])
@pytest.mark.fault(11)
def test_a_push_that_is_cut_or_refused_is_tried_again_and_has_the_same_digest(
    registry: str, local_image: str, trouble: dict[str, int]
) -> None:
    port = int(registry.rsplit(":", 1)[1])
    name = secrets.token_hex(4)
    with line_to(port, **trouble) as (line, met):
        through = ImageRegistry(prefix=f"localhost:{line}")
        pushed = through.push(local_image, through.repository(name), ["one", "two"])
    assert met.total() == sum(trouble.values()), "it went through without trouble"
    straight = ImageRegistry(prefix=registry)
    found = straight.find(straight.repository(name), "two")
    assert found is not None
    assert found.rsplit("@")[1] == pushed.rsplit("@")[1]


def test_a_registry_that_is_away_is_said_after_some_attempts(local_image: str) -> None:
    with line_to(1) as (nowhere, _):
        registry = ImageRegistry(prefix=f"localhost:{nowhere}")
        with pytest.raises(Unreachable, match="4 attempts"):
            registry.push(local_image, registry.repository("x"), ["one"])
        with pytest.raises(Unreachable):
            registry.find(registry.repository("x"), "one")


def test_a_registry_that_hangs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageRegistry, "_client", lambda *_: docker.from_env(timeout=1))
    over = threading.Event()

    def hang(_: Request) -> Answer:
        over.wait(20)
        return Answer(status=503)

    with serving(hang) as address:
        registry = ImageRegistry(prefix=f"localhost:{address.rpartition(':')[2]}")
        with pytest.raises(Unreachable, match="the registry does not answer"):
            registry.find(registry.repository("x"), "one")
        with pytest.raises(Unreachable, match="cannot be pulled"):
            registry.pull(f"{registry.repository('x')}@sha256:{'0' * 64}")
        over.set()


@pytest.mark.fault(12)
def test_a_moved_tag_does_not_move_what_was_pushed(registry: str, local_image: str) -> None:
    here = ImageRegistry(prefix=registry)
    repository = here.repository(secrets.token_hex(4))
    first = here.push(local_image, repository, ["latest"])
    with small_image() as newer:
        other = here.push(newer, repository, ["latest"])
    assert here.find(repository, "latest") == other != first
    here.require(first)
    here.pull(first)
    shown = subprocess.run(["docker", "image", "inspect", first], capture_output=True, check=False)
    assert shown.returncode == 0


def test_an_image_that_is_not_there_is_none_and_cannot_be_pulled(registry: str) -> None:
    here = ImageRegistry(prefix=registry)
    assert here.find(here.repository("never-pushed"), "one") is None
    never = f"{registry}/never-pushed@sha256:{'0' * 64}"
    with pytest.raises(Unreachable, match="cannot be pulled"):
        here.pull(never)
    with pytest.raises(Refused, match="no longer in the registry"):
        here.require(never)


def test_a_refused_login_is_not_tried_again(monkeypatch: pytest.MonkeyPatch, local_image: str) -> None:
    here = ImageRegistry(prefix="localhost:1")
    asked = []
    monkeypatch.setattr(here.__class__, "_push_once", lambda *_: asked.append(1) or ("", "unauthorized: no"))
    with pytest.raises(Failed, match="refuses the push"):
        here.push(local_image, here.repository("x"), ["one"])
    assert len(asked) == 1


def test_a_login_that_may_not_read_is_said() -> None:
    with serving(lambda _: Answer(status=401)) as address:
        here = ImageRegistry(prefix=f"localhost:{address.rpartition(':')[2]}")
        with pytest.raises(Failed, match="the registry refuses us"):
            here.find(here.repository("x"), "one")
        with pytest.raises(Failed, match="the registry refuses us"):
            here.pull(f"{here.repository('x')}@sha256:{'0' * 64}")


USER, PASSWORD = "ci", "open sesame 7"
HTPASSWD = f"{USER}:$2b$04$EGsidQMmgqf3Ifv8C6qZReV9HPoV90/zb.4drghJbYgaS9GEQomH2\n"  # that password's


@pytest.fixture(scope="module")
def guarded(docker_client: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real registry that asks for a login."""
    node, port = f"md-test-{secrets.token_hex(3)}", free_ports(1)[0]
    users = tmp_path_factory.mktemp("registry") / "htpasswd"
    users.write_text(HTPASSWD)
    asks = {"": "htpasswd", "_HTPASSWD_REALM": "tests", "_HTPASSWD_PATH": "/users"}
    variables = [part for name, value in asks.items() for part in ("--env", f"REGISTRY_AUTH{name}={value}")]
    *command, image = start_command(docker_client, node, port)
    argv = [*command, *variables, "--volume", f"{users}:/users:ro", image]
    try:
        subprocess.run(argv, check=True, capture_output=True)
        wait_until(lambda: "HTTP Error 401" in unreachable(port), 30)
        yield f"localhost:{port}"
    finally:
        remove_registry(docker_client, node, port)


def logged_in(prefix: str, password: str) -> ImageRegistry:
    credentials = DockerRegistryCredentials(username=USER, password=SecretStr(password), registry_url=prefix)
    return ImageRegistry(prefix=prefix, credentials=credentials)


def by_docker_login(prefix: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ImageRegistry:
    """As a person does who runs `docker login` on the worker's machine."""
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    argv = ["docker", "login", "--username", USER, "--password-stdin", prefix]
    subprocess.run(argv, input=PASSWORD, text=True, check=True, capture_output=True)
    return ImageRegistry(prefix=prefix)


@pytest.mark.parametrize("by_block", [True, False], ids=["the block's", "docker login"])
def test_with_its_login_an_image_is_pushed_found_and_pulled(
    guarded: str, local_image: str, *, by_block: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = logged_in(guarded, PASSWORD) if by_block else by_docker_login(guarded, tmp_path, monkeypatch)
    repository = here.repository(secrets.token_hex(4))
    image = here.push(local_image, repository, ["one"])
    assert here.find(repository, "one") == image
    for ask in (here.pull, here.have):
        subprocess.run(
            ["docker", "image", "rm", "--force", "--no-prune", image], capture_output=True, check=False
        )
        ask(image)
        subprocess.run(["docker", "image", "inspect", image], check=True, capture_output=True)


@pytest.mark.parametrize("password", ["open sesame 8", ""], ids=["wrong", "none"])
def test_without_the_right_login_it_is_said_at_once_and_never_the_password(
    guarded: str,
    local_image: str,
    password: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG")
    here = logged_in(guarded, password) if password else ImageRegistry(prefix=guarded)
    repository, said = here.repository("x"), [repr(here)]
    never = f"{repository}@sha256:{'0' * 64}"
    for ask in (
        lambda: here.push(local_image, repository, ["one"]),
        lambda: here.find(repository, "one"),
        lambda: here.require(never),
        lambda: here.pull(never),
    ):
        with pytest.raises(Failed, match="the registry refuses") as told:
            ask()
        assert told.value.where == guarded
        assert told.value.next_step == "check the credentials of the environment's Image Registry block"
        said += ["".join(traceback.format_exception(told.value))]
    said += [caplog.text, *capfd.readouterr()]
    assert not password or password not in "".join(said)


def test_an_image_goes_from_one_registry_to_another_under_the_same_digest(
    registry: str, local_image: str, docker_client: DockerClient
) -> None:
    node, port = f"md-test-{secrets.token_hex(3)}", free_ports(1)[0]
    first = ImageRegistry(prefix=registry)
    image = first.push(local_image, f"{registry}/sample", ["1"])
    try:
        second = ImageRegistry(prefix=ensure_registry(docker_client, node, port))
        brought = second.bring(image, first, second.repository("sample"), ["1"])
        assert brought == f"{second.prefix}/sample@{image.rpartition('@')[2]}"
        assert second.find(second.repository("sample"), "1") == brought
        assert second.bring(brought, second, second.repository("sample"), ["1"]) == brought
    finally:
        remove_registry(docker_client, node, port)


def test_what_the_engine_does_not_tag_is_said_and_a_tag_that_stays_fails_no_push(
    registry: str, local_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = ImageRegistry(prefix=registry)
    repository = here.repository(secrets.token_hex(4))
    with pytest.raises(Failed, match="cannot be tagged") as failed:
        here.push(local_image, repository, ["iris/v1"])
    assert failed.value.where == f"{repository}:iris/v1"

    def slow(*_: object, **__: object) -> None:
        raise ReadTimeout("the engine is busy")

    monkeypatch.setattr(docker.APIClient, "remove_image", slow)
    pushed = here.push(local_image, repository, ["one"])
    assert here.find(repository, "one") == pushed


@pytest.mark.fault(12)
def test_an_image_says_by_a_label_what_it_was_built_from_whatever_its_tag(registry: str) -> None:
    there = ImageRegistry(prefix=registry)
    with small_image("model-deploy.source-key=abc") as local:
        image = there.push(local, there.repository(secrets.token_hex(4)), ["src-other"])
        known = there.label(image, "model-deploy.source-key"), there.label(image, "another")
        docker.from_env().images.remove(image, force=True)
        again = there.label(image, "model-deploy.source-key")
        docker.from_env().images.remove(image, force=True)
    assert (*known, again) == ("abc", "", "abc")


def test_artifact_registry_gets_a_new_token_for_each_push(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A build may outlive a token: what is sent is what is valid then."""
    token, sent = tmp_path / "token", []
    here = ImageRegistry(prefix="localhost:1", google=GoogleApi(access_token_file=token))

    def push_once(registry: ImageRegistry, *_: str) -> tuple[str, str]:
        sent.append(registry._login())
        token.write_text(f"token {len(sent) + 1}")
        return ("sha256:1", "") if len(sent) > 1 else ("", "the first one broke")

    token.write_text("token 1")
    monkeypatch.setattr(ImageRegistry, "_push_once", push_once)
    monkeypatch.setattr("blocks.image_registry.FIRST_PAUSE", 0)
    here._push("localhost:1/x", "one")
    assert sent == [{"username": "oauth2accesstoken", "password": f"token {number}"} for number in (1, 2)]


def test_what_is_released_gets_a_tag_that_a_clean_up_leaves_alone(
    registry: str, local_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ImageRegistry(prefix=registry)
    repository = there.repository(secrets.token_hex(4))
    image = there.push(local_image, repository, ["one"])
    there.keep(image, "release-staging-1")
    assert there.find(repository, "release-staging-1") is None  # nothing is cleaned up here
    monkeypatch.setattr("blocks.image_registry.CLEANS_UP", "localhost")
    there.keep(image, "release-staging-1")
    there.keep(image, "release-staging-1")
    assert there.find(repository, "release-staging-1") == image
