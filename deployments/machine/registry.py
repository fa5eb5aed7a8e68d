"""The local environment's private OCI registry."""

import http.client
import time
import urllib.request

from blocks.command import run
from blocks.docker_client import DockerClient
from deployments.machine.images import REGISTRY
from releases.problem import Failed, Unreachable

START_SECONDS = 30


def ensure_registry(docker: DockerClient, node: str, port: int) -> str:
    """Start the registry on its remembered port. Returns its address. Raises Failed, Unreachable."""
    name = f"{node}-registry"
    state = run([docker.path, "inspect", "--format", "{{.State.Running}}", name], timeout=30)
    if state.code != 0:
        _must(start_command(docker, node, port))
    elif state.output.strip() != "true":
        _must([docker.path, "start", name])
    _wait(port)
    return f"localhost:{port}"


def start_command(docker: DockerClient, node: str, port: int) -> list[str]:
    """The command that starts it; only this machine reaches the port."""
    return [
        *(docker.path, "run", "--detach", "--restart", "always"),
        *("--name", f"{node}-registry", "--label", f"model-deploy.node={node}"),
        *("--publish", f"127.0.0.1:{port}:5000", "--volume", f"{node}-registry:/var/lib/registry"),
        *("--log-opt", "max-size=10m", "--log-opt", "max-file=3"),
        REGISTRY,
    ]


def remove_registry(docker: DockerClient, node: str, port: int) -> None:
    """Take it away with what it holds, and the engine's images that came from it."""
    run([docker.path, "rm", "--force", "--volumes", f"{node}-registry"], timeout=60)
    run([docker.path, "volume", "rm", "--force", f"{node}-registry"], timeout=60)
    forget_images(docker, f"localhost:{port}")


def forget_images(docker: DockerClient, registry: str) -> None:
    """Remove the engine's images that came from a registry that is gone."""
    form = "{{.Repository}} {{.Tag}} {{.Digest}}"
    images = run([docker.path, "image", "ls", "--digests", "--format", form], timeout=60).output
    names = {
        f"{repository}{sign}{name}"
        for repository, tag, digest in (line.split() for line in images.splitlines())
        for sign, name in ((":", tag), ("@", digest))
        if repository.startswith(f"{registry}/") and name != "<none>"
    }
    if names:
        run([docker.path, "image", "rm", *sorted(names)], timeout=120)


def _must(argv: list[str]) -> None:
    finished = run(argv, timeout=60)
    if finished.code != 0:
        raise Failed("the local registry does not start", got=finished.tail)


def unreachable(port: int) -> str:
    """Why the registry does not answer; empty: it does."""
    try:
        with urllib.request.urlopen(_address(port), timeout=2):
            return ""
    except (OSError, http.client.HTTPException) as error:  # the second: what listens there speaks no HTTP
        return str(error)


def _address(port: int) -> str:
    return f"http://127.0.0.1:{port}/v2/"


def _wait(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while why := unreachable(port):
        if time.monotonic() > deadline:
            raise Unreachable(
                "the local registry does not answer",
                where=_address(port),
                expected=f"200 within {START_SECONDS} s",
                got=why,
            )
        time.sleep(0.1)
