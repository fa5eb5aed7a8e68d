"""What becomes of a container declaration."""

import pytest
import yaml

from releases.adopted_run import adopted_run, as_yaml
from releases.adoption import before, check, check_metadata, choices, kept, machine
from releases.container_declaration import parse, with_image
from releases.node_boot import ADOPTED_KEY
from releases.problem import Failed, Refused
from releases.spec_file import parse_spec
from releases.volumes import Volume

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
CARRIED = {
    *("image", "network", "command", "args", "env.MODE", "privileged", "logs"),
    *("volume.host", "volume.memory", "volume.disk"),
}
PLAIN = "spec: {containers: [{name: a, image: a@sha256:1, command: , stdin: false}]}"


def test_everything_in_a_declaration_becomes_a_choice_and_what_is_lost_must_be_accepted() -> None:
    found = choices(parse(EVERYTHING), "gcr.io/acme/iris@sha256:1", 8000, 80)
    assert {one.name for one in found if one.loses} == LOST
    assert {one.name for one in found if not one.loses} == CARRIED
    with pytest.raises(Refused, match="5 things cannot be carried over; nothing was touched") as refused:
        check(found, [])
    assert "--accept env.API_KEY" in refused.value.next_step
    assert "restart: OnFailure" in refused.value.got
    check(found, LOST)


def test_the_same_container_is_what_the_yaml_that_is_shown_says() -> None:
    run = adopted_run(parse(EVERYTHING), 8000, 80)
    assert run.entrypoint == ["/run"]
    assert run.command == ["--fast"]
    assert run.privileged
    assert [one.model_dump() for one in run.volumes] == [
        {"path": "/data", "host": "/mnt/data"},
        {"path": "/cache", "tmpfs": True},
        {"path": "/disk", "disk": "models", "read_only": True},
    ]
    text = as_yaml("iris", run)
    assert "# API_KEY is not shown" in text
    shown = parse_spec(text)
    assert shown.name == "iris"
    assert shown.run == run.model_copy(update={"env": {"MODE": "fast"}})


@pytest.mark.parametrize(
    ("source", "path", "said"),
    [
        ("hostPath: {path: /var/run/docker.sock}", "/s", "gives the node away"),
        ("hostPath: {path: /a}", "/model", "where the release's model is"),
        ("gcePersistentDisk: {pdName: d, fsType: xfs}", "/d", "xfs is not mounted here"),
        ("emptyDir: {medium: Memory}, unheard: 1", "/d", "no such thing is known"),
        ("hostPath: {path: /a, type: Socket}", "/d", "no such thing is known"),
    ],
)
def test_a_volume_that_cannot_be_carried_over_says_why(source: str, path: str, said: str) -> None:
    text = f"""
spec:
  containers: [{{name: a, image: a, volumeMounts: [{{name: v, mountPath: {path}}}]}}]
  volumes: [{{name: v, {source}}}]
"""
    with pytest.raises(Refused) as refused:
        check(choices(parse(text), "a@sha256:1", 8000, 80), [])
    assert said in refused.value.got


def test_a_partition_keeps_its_name_and_a_second_volume_at_a_path_is_lost() -> None:
    text = """
spec:
  containers:
  - image: a
    volumeMounts: [{name: d, mountPath: /d}, {name: h, mountPath: /d/}, {name: none, mountPath: /n}]
  volumes: [{name: d, gcePersistentDisk: {pdName: d, partition: 2}}, {name: h, hostPath: {path: /h/}}]
"""
    assert adopted_run(parse(text), 1, 2).volumes == [Volume(path="/d", disk="d-part2")]
    found = choices(parse(text), "a@sha256:1", 8000, 80)
    assert {one.name: one.becomes for one in found if one.loses} == {
        "volume.h": "nothing: two volumes at /d",
        "volume.none": "nothing: there is no such volume",
    }


def test_what_is_kept_gives_the_metadata_of_before() -> None:
    was = {"gce-container-declaration": PLAIN, "ssh-keys": "a", "model-deploy": "{}"}
    now = {"user-data": "#", "ssh-keys": "b", "model-deploy": "{1}", ADOPTED_KEY: kept(was)}
    assert before(was) == was
    assert before(now) == {**was, "ssh-keys": "b"}
    with pytest.raises(Failed, match="cannot be read"):
        before({ADOPTED_KEY: "[]"})


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


def test_a_secret_among_the_arguments_is_treated_as_one_in_the_environment() -> None:
    text = PLAIN.replace("command: ,", "args: [--max-tokens=512, --api-key=hunter2],")
    found = choices(parse(text), "a@sha256:1", 8000, 80)
    args = next(one for one in found if one.name == "args")
    assert args.loses
    assert "hunter2" not in f"{args.was} {args.becomes}"
    shown = as_yaml("iris", adopted_run(parse(text), 8000, 80))
    assert "hunter2" not in shown
    assert "run.command is not shown" in shown
    url = "postgres://iris:" + "hunter2@database/iris"
    text = PLAIN.replace("command: ,", f"env: [{{name: DATABASE, value: '{url}'}}],")
    found = choices(parse(text), "a@sha256:1", 8000, 80)
    assert next(one for one in found if one.name == "env.DATABASE").loses
    assert "hunter2" not in as_yaml("iris", adopted_run(parse(text), 8000, 80))
    harmless = PLAIN.replace("command: ,", "args: [--max-tokens=512, --tokenizer=bert],")
    args = next(one for one in choices(parse(harmless), "a@sha256:1", 8000, 80) if one.name == "args")
    assert not args.loses


def test_what_the_vm_itself_keeps_the_agent_from_is_shown() -> None:
    here = "https://www.googleapis.com/auth"
    found = machine([f"{here}/logging.write"], {})
    assert [(one.name, one.was) for one in found] == [
        ("access scopes", "logging.write"),
        ("guest attributes", "off"),
    ]
    assert machine([f"{here}/cloud-platform"], {"enable-guest-attributes": "true"}) == []
