"""What a user may write under `run.volumes`, and what is refused."""

import json

import pytest

from releases.problem import BadInput
from releases.spec import Run
from releases.spec_file import parse_spec


def volumes(text: str, rest: str = "") -> str:
    return f"run: {{volumes: [{text}]{rest}}}"


def test_each_source_is_read() -> None:
    run = parse_spec(
        volumes(
            "{path: /a/, host: /mnt/disks/a, read_only: true}, {path: /b, tmpfs: 64m}, "
            "{path: /c, tmpfs: true}, {path: /d, disk: data-1}"
        )
    ).run
    assert [(one.path, one.host or one.tmpfs or one.disk) for one in run.volumes] == [
        ("/a", "/mnt/disks/a"), ("/b", "64m"), ("/c", True), ("/d", "data-1"),
    ]  # fmt: skip
    assert Run.model_validate_json(run.model_dump_json()) == run


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("{path: /a}", "exactly one of host, tmpfs, disk; here: none"),
        ("{path: /a, host: /b, disk: c}", "here: host, disk"),
        ("{path: a, host: /b}", "an absolute path"),
        ("{path: /a/../b, host: /b}", "without `..`"),
        ("{path: /a, host: b}", "an absolute path"),
        ("{path: /a, host: /mnt/../etc}", "without `..`"),
        ("{path: /, host: /b}", "not free in the container"),
        ("{path: /model/x, host: /b}", "/model the model's"),
        ("{path: /a, tmpfs: much}", "true, or the most it may hold"),
        ("{path: /a, tmpfs: true, read_only: true}", "of no use"),
        ("{path: /a, disk: ../sda}", "pattern"),
        ("{path: /a, host: /b}, {path: /a/, tmpfs: true}", "two volumes are at /a"),
    ],
)
def test_a_volume_that_cannot_be_is_said(wrong: str, said: str) -> None:
    with pytest.raises(BadInput, match=r"run.volumes|`run`") as caught:
        parse_spec(volumes(wrong))
    assert said in caught.value.expected


def test_a_slip_in_a_key_names_the_near_one() -> None:
    with pytest.raises(BadInput) as caught:
        parse_spec(volumes("{path: /a, hots: /b}"))
    assert caught.value.expected == "did you mean `host`?"


@pytest.mark.parametrize(
    "host",
    ["/", "//", "/var", "/var/run/docker.sock", "/run", "/proc", "/dev/sda", "/etc", "/home", "/home/a/.ssh"],
)
def test_what_hands_out_the_node_needs_privileged(host: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_spec(volumes(f"{{path: /a, host: {host}}}"))
    assert "run.privileged: true" in caught.value.expected
    assert parse_spec(volumes(f"{{path: /a, host: {host}}}", ", privileged: true")).run.privileged


@pytest.mark.parametrize("host", ["/var/lib/app", "/runner", "/home/a/data", "/mnt/disks/data"])
def test_a_folder_with_data_needs_nothing(host: str) -> None:
    assert parse_spec(volumes(f"{{path: /a, host: {host}}}")).run.volumes[0].host == host


def test_system_files_may_be_read() -> None:
    assert parse_spec(volumes("{path: /tz, host: /etc/localtime, read_only: true}")).run.volumes


def test_a_release_without_them_has_the_fingerprint_it_had_before_there_were_any() -> None:
    said = json.loads(Run().model_dump_json())
    assert not {"entrypoint", "command", "volumes", "privileged"} & said.keys()
