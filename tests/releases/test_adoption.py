"""What becomes of a container declaration."""

import pytest
import yaml

from releases.adoption import check, check_metadata, choices
from releases.container_declaration import parse, with_image
from releases.problem import Failed, Refused

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
LOST = {
    *("command", "args", "env.API_KEY", "volume.host", "volume.memory", "volume.disk"),
    *("restart", "privileged", "stdin", "tty", "hostPID"),
}
PLAIN = "spec: {containers: [{name: a, image: a@sha256:1, command: , stdin: false}]}"


def test_everything_in_a_declaration_becomes_a_choice_and_what_is_lost_must_be_accepted() -> None:
    found = choices(parse(EVERYTHING), "gcr.io/acme/iris@sha256:1", 8000, 80)
    assert {one.name for one in found if one.loses} == LOST
    assert {one.name for one in found if not one.loses} == {"image", "network", "env.MODE", "logs"}
    with pytest.raises(Refused, match="11 things cannot be carried over; nothing was touched") as refused:
        check(found, [])
    assert "--accept volume.disk" in refused.value.next_step
    assert "disk models at /disk" in refused.value.got
    check(found, LOST)


def test_a_plain_declaration_loses_nothing_and_a_slip_in_accept_is_noticed() -> None:
    found = choices(parse(PLAIN), "a@sha256:1", 8000, 80)
    check(found, [])
    with pytest.raises(Refused, match="no `volumes` to accept"):
        check(found, ["volumes"])


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
