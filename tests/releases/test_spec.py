"""What a user meets when model-deploy.yaml is right, wrong or missing."""

import re
from pathlib import Path

import pytest

from releases.problem import BadInput
from releases.spec import Run, ServiceSpec
from releases.spec_file import parse_spec, read_spec


def test_a_folder_without_a_spec_gets_the_defaults(tmp_path: Path) -> None:
    assert read_spec(tmp_path) == ServiceSpec()


def test_a_duration_is_a_number_of_seconds_or_has_its_unit() -> None:
    text = "confirm: {bake: 90s, window: 1.5h}\nsmoke: [{expect: {p95: 300ms}, timeout: 7}]"
    spec = parse_spec(text + "\nrollout: {hold: 2m}")
    assert (spec.confirm.bake, spec.confirm.window) == (90, 5400)
    assert (spec.smoke[0].expect.p95, spec.smoke[0].timeout) == (0.3, 7)
    assert spec.rollout is not None
    assert spec.rollout.hold == 120


@pytest.mark.parametrize(
    ("text", "what", "expected"),
    [
        ("rollout: {hold: 2 minutes}", "`rollout.hold` is not right", "300ms, 90s, 2m, 1.5h"),
        ("confirm: {bake: -1m}", "`confirm.bake` is not right", "90s"),
        ("confirm: {window: 25h}", "`confirm.window` is not right", "86400"),
        ("runn: {}", "unknown key `runn`", "did you mean `run`?"),
        ("run: {health: {pth: /}}", "unknown key `run.health.pth`", "did you mean `path`?"),
        ("smoke: [{pathh: /}]", "unknown key `smoke.0.pathh`", "did you mean `path`?"),
        ("run: {port: many}", "`run.port` is not right", "valid integer"),
        ("", "the spec is empty", "at least one field"),
        ("- a", "the spec is not a mapping", "key: value"),
        ("a: [", "the spec is not YAML", ""),
        (
            "run: {health: {path: healthz}}",
            "`run.health.path` is not right",
            "begins with /, such as /healthz",
        ),
        ("run: {warmup: {path: predict}}", "`run.warmup.path` is not right", "such as /predict"),
        ("run: {warmup: {method: post}}", "`run.warmup.method` is not right", "such as POST"),
        ("smoke: [{}, {path: a, name: b}]", "`smoke.1.path` is not right", "such as /a"),
        ("smoke: [{method: G E T}]", "`smoke.0.method` is not right", "an HTTP method in capitals"),
        (
            "smoke: [{expect: {json_schema: {type: objekt}}}]",
            "`smoke.0.expect.json_schema.type` is not right",
            "JSON schema",
        ),
        (
            "smoke: [{expect: {json_schema: {properties: {a: {minimum: many}}}}}]",
            "`smoke.0.expect.json_schema.properties.a.minimum` is not right",
            "JSON schema",
        ),
        ("smoke: [{path: /a}, {path: /a}]", "`smoke` is not right", "two smoke checks are called 'GET /a'"),
    ],
)
def test_a_wrong_spec_says_what_is_wrong_and_what_is_near(text: str, what: str, expected: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_spec(text, where="here/model-deploy.yaml")
    assert caught.value.what == what
    assert expected in caught.value.expected
    assert "here/model-deploy.yaml" in str(caught.value)
    assert "Value error" not in str(caught.value), "that is pydantic's"


def test_a_record_from_before_these_rules_is_still_read() -> None:
    old = Run.model_validate({"health": {"path": "healthz"}, "warmup": {"method": "post"}})
    assert old.health.path == "healthz"


def test_a_wrong_spec_is_named_as_in_the_repository_not_by_the_folder_of_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "model-deploy.yaml").write_text("runn: {}")
    with pytest.raises(BadInput) as caught:
        read_spec(tmp_path)
    assert caught.value.where == "model-deploy.yaml"


@pytest.mark.parametrize(
    ("volumes", "said"),
    [
        ("{path: /data}", "exactly one of host, tmpfs and disk, not none"),
        ("{path: /data, host: /a, tmpfs: 1m}", "exactly one of host, tmpfs and disk, not host and tmpfs"),
        ("{path: data, host: /a}", "an absolute path"),
        ("{path: /a/../b, host: /a}", "without `..`"),
        ("{path: /data/, host: /a}", "written as /data"),
        ("{path: /, tmpfs: true}", "not / itself"),
        ("{path: /a, host: '/b:c'}", "without colons"),
        ("{path: /a, tmpfs: false}", "a size such as 64m, or true"),
        ("{path: /a, tmpfs: 64}", "a size such as 64m, or true"),
        ("{path: /a, tmpfs: true, read_only: true}", "begins empty"),
        ("{path: /a, disk: ../x}", "match pattern"),
        ("{path: /a, host: /a}, {path: /a, tmpfs: true}", "two volumes at /a"),
        ("{path: /model/extra, host: /a}", "where the release's model is"),
        ("{path: /a, host: /var/run/docker.sock, read_only: true}", "gives the node away"),
        ("{path: /a, host: /var, read_only: true}", "gives the node away"),
        ("{path: /a, host: /etc}", "gives the node away"),
    ],
)
def test_a_volume_that_cannot_be_is_refused_with_what_is_wrong(volumes: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_spec(f"run: {{volumes: [{volumes}]}}")
    assert said in caught.value.expected
    assert re.match(r"`run\.volumes(\.0(\.[a-z]+)?)?` is not right", caught.value.what)


@pytest.mark.parametrize(
    "run",
    [
        "{volumes: [{path: /a, host: /etc/ssl, read_only: true}, {path: /modelling, host: /home/me}]}",
        "{privileged: true, volumes: [{path: /var/run/docker.sock, host: /var/run/docker.sock}]}",
        "{volumes: [{path: /a, host: /variety}, {path: /b, disk: data-part1}, {path: /c, tmpfs: 1.5g}]}",
    ],
)
def test_a_volume_that_harms_nobody_or_is_said_to_is_accepted(run: str) -> None:
    parse_spec(f"run: {run}")


def test_a_near_key_of_a_volume_is_named() -> None:
    with pytest.raises(BadInput) as caught:
        parse_spec("run: {volumes: [{path: /a, hosts: /b}]}")
    assert (caught.value.what, caught.value.expected) == (
        "unknown key `run.volumes.0.hosts`",
        "did you mean `host`?",
    )
