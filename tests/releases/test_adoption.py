"""What becomes of a container declaration."""

import pytest
import yaml

from releases.adopted_run import adopted_run, as_yaml
from releases.adoption import check, check_metadata, choices, secret_variables
from releases.container_declaration import parse, with_image
from releases.problem import Failed, Refused
from releases.spec_file import parse_spec

EVERYTHING = """
spec:
  containers:
  - name: iris
    image: gcr.io/acme/iris:1
    command: [/run]
    args: [--fast]
    env: [{name: MODE, value: fast}, {name: API_KEY, value: x}]
    securityContext: {privileged: true}
    stdin: true
    tty: true
    volumeMounts:
    - {name: host, mountPath: /data}
    - {name: memory, mountPath: /cache}
    - {name: disk, mountPath: /disk, readOnly: true}
  volumes:
  - {name: host, hostPath: {path: /mnt/data}}
  - {name: memory, emptyDir: {medium: Memory}}
  - {name: disk, gcePersistentDisk: {pdName: models, fsType: ext4}}
  restartPolicy: OnFailure
  hostPID: true
"""
LOST = {"env.API_KEY", "restart", "stdin", "tty", "hostPID"}
PLAIN = "spec: {containers: [{name: a, image: a@sha256:1, command: , stdin: false}]}"


def test_everything_in_a_declaration_becomes_a_choice_and_what_is_lost_must_be_accepted() -> None:
    found = choices(parse(EVERYTHING), "gcr.io/acme/iris@sha256:1", 8000, 80)
    assert {one.name for one in found if one.loses} == LOST
    assert {one.name for one in found if not one.loses} == {
        *("image", "network", "env.MODE", "logs", "command", "args", "privileged"),
        *("volume.host", "volume.memory", "volume.disk"),
    }
    with pytest.raises(Refused, match="5 things cannot be carried over; nothing was touched") as refused:
        check(found, [])
    assert "--accept hostPID" in refused.value.next_step
    assert "restart: OnFailure -> always" in refused.value.got
    check(found, LOST)


def test_a_plain_declaration_loses_nothing_and_a_slip_in_accept_is_noticed() -> None:
    found = choices(parse(PLAIN), "a@sha256:1", 8000, 80)
    check(found, [])
    with pytest.raises(Refused, match="no `volumes` to accept"):
        check(found, ["volumes"])


def test_what_is_carried_over_is_said_in_the_words_of_the_spec() -> None:
    declaration = parse(EVERYTHING)
    run = adopted_run(declaration, 8000, 80)
    text = as_yaml(run, secret_variables(declaration))
    read = parse_spec(text).run
    assert read == run.model_copy(update={"env": {"MODE": "fast"}})
    assert "API_KEY is left out" in text
    assert (read.entrypoint, read.command, read.privileged) == (("/run",), ("--fast",), True)
    assert [one.model_dump(exclude_defaults=True) for one in read.volumes] == [
        {"path": "/data", "host": "/mnt/data"},
        {"path": "/cache", "tmpfs": True},
        {"path": "/disk", "disk": "models", "read_only": True},
    ]


@pytest.mark.parametrize(
    ("mounts", "volumes", "why"),
    [
        ("{name: a, mountPath: /a}", "", "no such volume"),
        ("{name: a, mountPath: a}", "{name: a, emptyDir: {}}", "an absolute path"),
        (
            "{name: a, mountPath: /a}",
            "{name: a, hostPath: {path: /var/run/docker.sock}}",
            "hands out the node",
        ),
        ("{name: a, mountPath: /a}", "{name: a, gcePersistentDisk: {pdName: d, fsType: xfs}}", "only ext4"),
        (
            "{name: b, mountPath: /a}, {name: a, mountPath: /a/}",
            "{name: a, emptyDir: {}}, {name: b, emptyDir: {}}",
            "two volumes are at the same path",
        ),
    ],
)
def test_a_volume_that_cannot_be_carried_over_is_named(mounts: str, volumes: str, why: str) -> None:
    declaration = parse(
        f"spec: {{containers: [{{image: a, volumeMounts: [{mounts}]}}], volumes: [{volumes}]}}"
    )
    lost = [one for one in choices(declaration, "a@sha256:1", 80, 80) if one.loses]
    assert [one.name for one in lost] == ["volume.a"]
    assert why in lost[0].becomes
    assert "a" not in {one.path for one in adopted_run(declaration, 80, 80).volumes}


def test_a_partition_of_a_disk_is_a_device_of_its_own() -> None:
    declaration = parse(
        "spec: {containers: [{image: a, volumeMounts: [{name: a, mountPath: /a}]}], "
        "volumes: [{name: a, gcePersistentDisk: {pdName: d, partition: 2}}]}"
    )
    assert [one.disk for one in adopted_run(declaration, 80, 80).volumes] == ["d-part2"]


def test_only_image_name_and_our_variables_change_in_a_declaration() -> None:
    before, after = (
        yaml.safe_load(EVERYTHING),
        yaml.safe_load(with_image(EVERYTHING, "new@sha256:2", "iris-2", {"MODE": "x"})),
    )
    container = after["spec"]["containers"][0]
    assert (container.pop("image"), container.pop("name")) == ("new@sha256:2", "iris-2")
    assert container.pop("env") == [{"name": "API_KEY", "value": "x"}, {"name": "MODE", "value": "x"}]
    for key in ("image", "name", "env"):
        before["spec"]["containers"][0].pop(key)
    assert after == before


@pytest.mark.parametrize(
    "text", ["{", "spec: {containers: []}", "spec: {containers: [{image: a}, {image: b}]}", ""]
)
def test_a_declaration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Failed, match="cannot be read"):
        parse(text)


def test_a_vm_that_starts_things_of_its_own_is_left_alone() -> None:
    with pytest.raises(Refused, match="nothing to adopt"):
        check_metadata({})
    with pytest.raises(Refused, match="startup-script of its own"):
        check_metadata({"gce-container-declaration": PLAIN, "startup-script": ""})
    with pytest.raises(Refused, match="user-data of its own"):
        check_metadata({"gce-container-declaration": PLAIN, "user-data": ""})
    check_metadata({"model-deploy-adopted": PLAIN, "user-data": "ours, of a move that was cut off"})
