"""Tests in their container: what they report, and that nothing of it outlives them."""

import secrets
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from blocks import image_builder
from blocks.command import Finished, TookTooLong, run
from blocks.image_builder import ImageBuilder, end_overdue_tests
from releases.problem import BadInput, Failed, Unreachable
from releases.spec import Build
from releases.spec import Tests as HowToTest
from tests.controllers import wait_until

pytestmark = pytest.mark.containers
FINE = '<testsuite tests="1"><testcase classname="t" name="shape" time="0.1"/></testsuite>'


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def image() -> Iterator[str]:
    tag = f"md-test-{secrets.token_hex(4)}/iris:1-tests"
    docker("tag", "python:3.11-slim", tag)
    yield tag
    docker("image", "rm", "--no-prune", tag)


def running(image: str) -> list[str]:
    return docker("ps", "-aq", "--filter", f"label=model-deploy.tests={image.rpartition(':')[0]}").split()


def reported(image: str, script: str, stop: threading.Event | None = None) -> int:
    """How many tests were reported."""
    tests = HowToTest(target="test", command=["sh", "-c", f"mkdir /reports; {script}"])
    return len(ImageBuilder().test(image, tests, lambda _: None, stop).cases)


@pytest.mark.parametrize("report", ["", '<testsuite tests="1"><testcase na', "<html/>"])
def test_a_report_that_cannot_be_read_is_said_and_never_hides_the_exit_code(image: str, report: str) -> None:
    write = f"printf '%s' '{report}' > /reports/junit.xml"
    with pytest.raises(Failed, match="the tests failed") as caught:
        reported(image, f"{write}; echo no such model; exit 3")
    assert caught.value.got.startswith("3\nno such model\n")
    with pytest.raises(Failed, match="cannot be read") as caught:
        reported(image, write)
    assert "test.junit" in caught.value.next_step
    assert running(image) == []


def test_what_a_killed_controller_left_behind_goes_with_the_next_tests(
    image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr("blocks.image_builder._remove", lambda *_: None)
        assert reported(image, f"echo '{FINE}' > /reports/junit.xml") == 1
    (left,) = running(image)
    assert docker("inspect", "--format", "{{.HostConfig.LogConfig.Type}}", left) == "none"
    assert reported(image, "true") == 0
    assert running(image) == []


def test_tests_whose_controller_and_time_are_gone_are_ended_without_a_next_release(
    image: str,
) -> None:
    owner = image.rpartition(":")[0]
    for ends in (0, 10**10):  # long ago, and not soon
        labels = [f"model-deploy.tests={owner}", f"model-deploy.tests-end={ends}"]
        docker("run", "-d", *(part for one in labels for part in ("--label", one)), image, "sleep", "60")
    in_time = running(image)[0]  # newest first
    try:
        end_overdue_tests()
        assert running(image) == [in_time]
    finally:
        docker("rm", "--force", *running(image))


def test_what_docker_warns_of_is_no_container(
    image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{not json")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert reported(image, f"echo '{FINE}' > /reports/junit.xml") == 1
    end_overdue_tests()


def test_an_engine_that_does_not_list_its_containers_is_said(
    image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_builder, "_ROW", ("{{.Nothing}}",))
    with pytest.raises(Unreachable, match="does not list its containers"):
        reported(image, "true")


def test_an_engine_that_is_slow_to_clear_away_fails_nothing_and_hides_nothing(
    image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(argv: Sequence[str], **options: Any) -> Finished:
        done = run(argv, **options)
        if "rm" in argv:
            raise TookTooLong("docker rm took too long")
        return done

    monkeypatch.setattr(image_builder, "run", slow)
    assert reported(image, f"echo '{FINE}' > /reports/junit.xml") == 1
    with pytest.raises(Failed, match="the tests failed"):
        reported(image, "exit 3")
    ImageBuilder().forget(image.rpartition(":")[0])
    docker("tag", "python:3.11-slim", image)  # for the fixture, which takes it away


def test_tests_that_are_stopped_end_at_once(image: str) -> None:
    stop = threading.Event()
    ended: list[BaseException] = []

    def test() -> None:
        try:
            reported(image, "sleep 60", stop)
        except Failed as failed:
            ended.append(failed)

    thread = threading.Thread(target=test)
    thread.start()
    wait_until(lambda: bool(running(image)), 20)
    stop.set()
    thread.join(15)
    assert "was stopped" in str(ended[0])
    assert running(image) == []


def test_a_base_image_that_does_not_exist_is_not_worth_another_try(registry: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {registry}/nothing:1\n")
    with pytest.raises(BadInput, match="cannot be pulled"):
        ImageBuilder().bases(tmp_path, Build())


def test_a_dockerfile_in_an_old_encoding_is_read_as_the_engine_reads_it(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_bytes("# für alle\nFROM scratch\n".encode("latin-1"))
    assert ImageBuilder().bases(tmp_path, Build()) == {}


def test_a_dockerfile_that_docker_builds_is_built_from_what_it_says(tmp_path: Path) -> None:
    """VERSION is its base image's, and not the commit that we hand to those who ask for it."""
    engine = docker("version", "--format", "{{.Server.Arch}}")
    (tmp_path / "Dockerfile").write_text(
        "ARG VERSION=3.11-slim\nFROM python:${VERSION:-none} AS For-"
        f"{engine}\nARG VERSION\nARG REVISION\nENV SEEN=$VERSION/$REVISION\nFROM for-$TARGETARCH\n"
    )
    tag, own = f"md-test-{secrets.token_hex(4)}/iris:1", "org.opencontainers.image"
    labels = {f"{own}.version": "abc123", f"{own}.revision": "abc"}
    try:
        assert list(ImageBuilder().bases(tmp_path, Build())) == ["python:3.11-slim"]
        ImageBuilder().build(tmp_path, Build(), tag, labels, lambda _: None)
        assert "SEEN=3.11-slim/abc" in docker("image", "inspect", "--format", "{{.Config.Env}}", tag)
    finally:
        subprocess.run(["docker", "image", "rm", tag], capture_output=True, check=False)
