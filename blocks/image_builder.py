"""Builds and tests images with the engine on this machine, through BuildKit."""

import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from junitparser import Error, JUnitXml, JUnitXmlError
from junitparser import Failure as TestFailure
from prefect.blocks.core import Block

from blocks.command import ENOUGH_LINES, TookTooLong, run
from blocks.docker_client import DockerClient, find_docker
from blocks.light_block import LightBlock
from blocks.registry_answers import is_absent, is_denied
from releases.base_images import args_of_from, base_images, platform_args
from releases.problem import BadInput, Failed, Problem, Unreachable
from releases.spec import Build, Tests

PULL_SECONDS = 600
ASK_SECONDS = 60
MESSAGE_WIDTH = 500
NO_LOG = ["--log-driver", "none"]  # what tests print is read here; kept by the engine it could fill the disk
TESTS_OF = "model-deploy.tests"  # a test container's label: the repository of its image
TESTS_END = "model-deploy.tests-end"  # when it is over at the latest, in seconds since 1970
SLACK_SECONDS = 60


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
        """Every base image and its id, pulled if it is not here. Raises Unreachable, BadInput, Failed."""
        docker = find_docker()
        text = _text(context / build.dockerfile)
        images = base_images(text, build.args, _platform(docker, text, build))
        return {image: self._base_id(docker, image) for image in images}

    def build(
        self,
        context: Path,
        build: Build,
        tag: str,
        labels: Mapping[str, str],
        on_line: Callable[[str], None],
        stop: threading.Event | None = None,
    ) -> str:
        """Build and tag; returns the tag. Raises Failed with the last lines, or when `stop` is set."""
        docker = find_docker()
        declared = _text(context / build.dockerfile)
        own = {"REVISION": "revision", "VERSION": "version", "SOURCE": "source", "CREATED": "created"}
        theirs = args_of_from(declared)  # VERSION may be that of a base image
        values = {
            name: labels[f"org.opencontainers.image.{key}"]
            for name, key in own.items()
            if f"ARG {name}" in declared
            and name not in theirs
            and f"org.opencontainers.image.{key}" in labels
        }
        argv = build_command(docker, context, build, tag, labels, {**values, **build.args})
        finished = run(
            argv,
            timeout=build.timeout,
            env=docker.environment,
            on_line=on_line,
            last=ENOUGH_LINES,
            stop=stop,
        )
        if finished.code != 0:
            raise Failed("the image cannot be built", where=build.dockerfile, got=finished.tail)
        return tag

    def forget(self, repository: str) -> None:
        """Drop every tag of a repository on this machine; the build cache stays."""
        with suppress(Problem):  # what cannot be cleared away neither fails a release nor hides why it failed
            listed = [find_docker().path, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository]
            tags = run(listed, timeout=ASK_SECONDS).output.split()
            if tags:
                run([find_docker().path, "image", "rm", "--no-prune", *tags], timeout=ASK_SECONDS)

    def exposed(self, image: str) -> list[int]:
        """The ports that the image says it listens on."""
        shown = run([find_docker().path, "image", "inspect", "--format", _PORTS, image], timeout=ASK_SECONDS)
        return [int(word.split("/")[0]) for word in shown.output.split() if word.endswith("/tcp")]

    def test(
        self,
        image: str,
        tests: Tests,
        on_line: Callable[[str], None],
        stop: threading.Event | None = None,
    ) -> TestReport:
        """Run the tests in a container of the image, a tag of a repository that nobody else uses now.

        Raises Failed that names the first failing test, or when `stop` is set.
        """
        docker, name = find_docker(), f"model-deploy-tests-{uuid.uuid4().hex[:8]}"
        owner, ends = image.rpartition(":")[0], int(time.time() + tests.timeout) + SLACK_SECONDS
        _remove_left_behind(docker, owner)
        labels = ["--label", f"{TESTS_OF}={owner}", "--label", f"{TESTS_END}={ends}"]
        argv = [docker.path, "run", "--init", "--name", name, *labels, *NO_LOG, image, *tests.command]
        try:
            finished = run(argv, timeout=tests.timeout, on_line=on_line, last=ENOUGH_LINES, stop=stop)
            report, unreadable = self._report(docker, name, tests.junit)
        finally:
            _remove(docker, [name])
        if report.failed:
            first = report.failed[0]
            raise TestsFailed(f"{len(report.failed)} of {len(report.cases)} tests failed", first, report)
        if finished.code != 0:
            raise Failed(
                "the tests failed",
                expected="exit code 0",
                got="\n".join(filter(None, [str(finished.code), finished.tail, unreadable])),
            )
        if unreadable:
            raise Failed(
                "the tests ended well, but what they report cannot be read",
                where=tests.junit,
                expected="a JUnit report there, or no file",
                got=unreadable,
                next_step="name the report under test.junit in model-deploy.yaml",
            )
        return report

    def _base_id(self, docker: DockerClient, image: str) -> str:
        inspect = [docker.path, "image", "inspect", "--format", "{{.Id}}", image]
        shown = run(inspect, timeout=ASK_SECONDS)
        if shown.code != 0:
            try:
                pulled = run([docker.path, "pull", "--quiet", image], timeout=PULL_SECONDS)
            except TookTooLong as late:
                raise Unreachable(
                    f"the base image {image} cannot be pulled", "", late.expected, late.got
                ) from late
            if pulled.code != 0:
                raise _not_pulled(image, pulled.tail)
            shown = run(inspect, timeout=ASK_SECONDS)
        return shown.output.strip()

    def _report(self, docker: DockerClient, container: str, junit: str) -> tuple[TestReport, str]:
        """What the tests' report says; none: no cases. And why it cannot be read, if it cannot."""
        with TemporaryDirectory(prefix="model-deploy-junit-") as folder:
            copy = Path(folder) / "junit.xml"
            copied = run([docker.path, "cp", f"{container}:{junit}", str(copy)], timeout=ASK_SECONDS)
            if copied.code != 0:
                return TestReport(()), ""
            try:
                return read_junit(copy), ""
            except (SyntaxError, ValueError, OSError, JUnitXmlError) as error:  # a parser's is a SyntaxError
                return TestReport(()), f"{type(error).__name__}: {error}"


def _platform(docker: DockerClient, dockerfile: str, build: Build) -> dict[str, str]:
    """What FROM may know of platforms; the engine is asked for its own only where that may be used."""
    if not re.search(r"\$\{?(BUILD|TARGET)", dockerfile):
        return {}
    asked = [docker.path, "version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"]
    own = run(asked, timeout=ASK_SECONDS).output.strip()
    return platform_args(own, build.platform or own)


def _not_pulled(image: str, said: str) -> Problem:
    """Unreachable, which may pass; or what stays as it is until a person does something."""
    what = f"the base image {image} cannot be pulled"
    if is_absent(said):
        return BadInput(what, expected="an image that its registry has, and shows to this machine", got=said)
    if is_denied(said):
        registry = image.partition("/")[0] if "/" in image else ""
        return Failed(what, "", "a login that may", said, f"docker login {registry}".strip())
    return Unreachable(what, got=said)


def end_overdue_tests() -> int:
    """End tests that have outlived their controller and their time; how many. Raises Problem."""
    return _remove_left_behind(find_docker())


def _remove_left_behind(docker: DockerClient, owner: str = "") -> int:
    """What a killed controller could not take away: of the same service, and what is overdue of others."""
    argv = [docker.path, "ps", "--all", "--filter", f"label={TESTS_OF}", "--format", " ".join(_ROW)]
    listed = run(argv, timeout=ASK_SECONDS)
    if listed.code != 0:
        raise Unreachable("the container engine does not list its containers", got=listed.tail)
    # Among the rows may stand what docker warns of.
    rows = [words for line in listed.output.splitlines() if len(words := line.split()) == len(_ROW)]
    left = [
        one for one, whose, ends in rows if ends.isdecimal() and (whose == owner or int(ends) < time.time())
    ]
    _remove(docker, left)
    return len(left)


def _remove(docker: DockerClient, containers: Sequence[str]) -> None:
    with suppress(Problem):  # as in `forget`; the next tests of the service try again
        if containers:
            run([docker.path, "rm", "--force", "--volumes", *containers], timeout=ASK_SECONDS)


class TestsFailed(Failed):
    """Carries the report, for the table in the UI."""

    __test__ = False

    def __init__(self, what: str, first: TestCase, report: TestReport) -> None:
        super().__init__(
            what, where=first.name, got=first.message, next_step="mend it, commit, and push again"
        )
        self.report = report


_ROW = ("{{.ID}}", *(f'{{{{.Label "{label}"}}}}' for label in (TESTS_OF, TESTS_END)))
_PORTS = "{{range $port, $_ := .Config.ExposedPorts}}{{$port}} {{end}}"


def _text(dockerfile: Path) -> str:
    """As the engine takes it: an old encoding in a comment is no mistake."""
    return dockerfile.read_text(encoding="utf-8", errors="replace")


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
