"""Builds and tests images with the engine on this machine, through BuildKit."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from junitparser import Error, JUnitXml
from junitparser import Failure as TestFailure
from prefect.blocks.core import Block

from blocks.command import run
from blocks.docker_client import DockerClient, find_docker
from blocks.light_block import LightBlock
from releases.problem import Failed, Unreachable
from releases.source_key import base_images
from releases.spec import Build, Tests

PULL_SECONDS = 600
ASK_SECONDS = 60
MESSAGE_WIDTH = 500


@dataclass(frozen=True)
class TestCase:
    """One test and what came of it; no message: it passed."""

    __test__ = False

    name: str
    seconds: float
    message: str = ""


@dataclass(frozen=True)
class TestReport:
    """What the tests' JUnit report says."""

    __test__ = False

    cases: tuple[TestCase, ...]

    @property
    def failed(self) -> tuple[TestCase, ...]:
        """Those that did not pass."""
        return tuple(case for case in self.cases if case.message)


class ImageBuilder(LightBlock, Block):
    """The docker command with BuildKit: docker-py knows no `RUN --mount`."""

    _block_type_name = "Image Builder"
    _block_type_slug = "image-builder"

    def bases(self, context: Path, build: Build) -> dict[str, str]:
        """Every base image and its id, pulled if it is not here. Raises Unreachable."""
        docker = find_docker()
        text = (context / build.dockerfile).read_text(encoding="utf-8")
        return {image: self._base_id(docker, image) for image in base_images(text, build.args)}

    def build(
        self, context: Path, build: Build, tag: str, labels: Mapping[str, str], on_line: Callable[[str], None]
    ) -> str:
        """Build and tag; returns the tag. Raises Failed with the last lines."""
        docker = find_docker()
        declared = (context / build.dockerfile).read_text(encoding="utf-8")
        own = {"REVISION": "revision", "VERSION": "version", "SOURCE": "source", "CREATED": "created"}
        values = {
            name: labels[f"org.opencontainers.image.{key}"]
            for name, key in own.items()
            if f"ARG {name}" in declared and f"org.opencontainers.image.{key}" in labels
        }
        argv = build_command(docker, context, build, tag, labels, {**values, **build.args})
        finished = run(argv, timeout=build.timeout, env=docker.environment, on_line=on_line)
        if finished.code != 0:
            raise Failed("the image cannot be built", where=build.dockerfile, got=finished.tail)
        return tag

    def forget(self, repository: str) -> None:
        """Drop every tag of a repository on this machine; the build cache stays."""
        listed = [find_docker().path, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository]
        tags = run(listed, timeout=ASK_SECONDS).output.split()
        if tags:
            run([find_docker().path, "image", "rm", "--no-prune", *tags], timeout=ASK_SECONDS)

    def exposed(self, image: str) -> list[int]:
        """The ports that the image says it listens on."""
        shown = run([find_docker().path, "image", "inspect", "--format", _PORTS, image], timeout=ASK_SECONDS)
        return [int(word.split("/")[0]) for word in shown.output.split() if word.endswith("/tcp")]

    def test(self, image: str, tests: Tests, on_line: Callable[[str], None]) -> TestReport:
        """Run the tests in a container of the image. Raises Failed that names the first failing test."""
        docker, name = find_docker(), f"model-deploy-tests-{uuid.uuid4().hex[:8]}"
        try:
            # What it prints is read here; in a log of the engine's it could fill the disk.
            flags = ["--init", "--log-driver", "none", "--name", name]
            argv = [docker.path, "run", *flags, image, *tests.command]
            finished = run(argv, timeout=tests.timeout, on_line=on_line)
            report = self._report(docker, name, tests.junit)
        finally:
            run([docker.path, "rm", "--force", "--volumes", name], timeout=ASK_SECONDS)
        if report.failed:
            first = report.failed[0]
            raise TestsFailed(f"{len(report.failed)} of {len(report.cases)} tests failed", first, report)
        if finished.code != 0:
            raise Failed("the tests failed", expected="exit code 0", got=f"{finished.code}\n{finished.tail}")
        return report

    def _base_id(self, docker: DockerClient, image: str) -> str:
        inspect = [docker.path, "image", "inspect", "--format", "{{.Id}}", image]
        shown = run(inspect, timeout=ASK_SECONDS)
        if shown.code != 0:
            pulled = run([docker.path, "pull", "--quiet", image], timeout=PULL_SECONDS)
            if pulled.code != 0:
                raise Unreachable(f"the base image {image} cannot be pulled", got=pulled.tail)
            shown = run(inspect, timeout=ASK_SECONDS)
        return shown.output.strip()

    def _report(self, docker: DockerClient, container: str, junit: str) -> TestReport:
        with TemporaryDirectory(prefix="model-deploy-junit-") as folder:
            copy = Path(folder) / "junit.xml"
            copied = run([docker.path, "cp", f"{container}:{junit}", str(copy)], timeout=ASK_SECONDS)
            return read_junit(copy) if copied.code == 0 else TestReport(())


class TestsFailed(Failed):
    """Carries the report, for the table in the UI."""

    __test__ = False

    def __init__(self, what: str, first: TestCase, report: TestReport) -> None:
        super().__init__(
            what, where=first.name, got=first.message, next_step="mend it, commit, and push again"
        )
        self.report = report


_PORTS = "{{range $port, $_ := .Config.ExposedPorts}}{{$port}} {{end}}"


def build_command(
    docker: DockerClient,
    context: Path,
    build: Build,
    tag: str,
    labels: Mapping[str, str],
    args: Mapping[str, str],
) -> list[str]:
    """The command that builds."""
    flags = [*("--file", str(context / build.dockerfile)), *("--tag", tag), "--progress=plain"]
    flags += ["--target", build.target] if build.target else []
    flags += ["--platform", build.platform] if build.platform else []
    flags += [part for name, value in labels.items() for part in ("--label", f"{name}={value}")]
    flags += [part for name, value in args.items() for part in ("--build-arg", f"{name}={value}")]
    return [
        docker.path,
        *(["buildx", "build", "--load"] if docker.buildkit == "buildx" else ["build"]),
        *flags,
        str(context),
    ]


def read_junit(file: Path) -> TestReport:
    """A JUnit report as cases."""
    cases = []
    for suite in JUnitXml.fromfile(str(file)):
        for case in suite:
            bad = [result for result in case.result if isinstance(result, TestFailure | Error)]
            message = (bad[0].message or bad[0].text or "failed")[:MESSAGE_WIDTH] if bad else ""
            cases.append(TestCase(f"{case.classname}::{case.name}", float(case.time or 0), message))
    return TestReport(tuple(cases))
