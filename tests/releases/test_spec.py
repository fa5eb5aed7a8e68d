"""What a user meets when model-deploy.yaml is right, wrong or missing."""

import json
import re
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.environments_file import parse
from releases.problem import BadInput
from releases.source_file import read_sources
from releases.spec import Run, ServiceSpec
from releases.spec_file import SPEC_FILE, name_of, parse_spec, read_spec


def test_a_folder_without_a_spec_gets_the_defaults(tmp_path: Path) -> None:
    assert read_spec(tmp_path) == ServiceSpec()


@pytest.mark.parametrize("content", ["name: für".encode("latin-1"), b"name: 2026-02-30"])
@pytest.mark.parametrize(
    "read",
    [read_spec, lambda folder: read_sources(folder / SPEC_FILE), lambda folder: parse(folder / SPEC_FILE)],
)
def test_an_old_encoding_or_a_day_that_there_is_not_is_the_users_mistake(
    tmp_path: Path, read: Callable[[Path], object], content: bytes
) -> None:
    """In each of the files that a person writes."""
    (tmp_path / SPEC_FILE).write_bytes(content)
    with pytest.raises(BadInput, match=SPEC_FILE):
        read(tmp_path)


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
    ("folder", "name"),
    [
        ("iris", "iris"),
        ("Iris Model_v2", "iris-model-v2"),
        ("müller-modell", "m-ller-modell"),
        (".iris.", "iris"),
        ("a" * 39 + "-b", "a" * 39),
    ],
)
def test_a_service_without_a_name_is_called_as_its_folder_as_far_as_names_go(folder: str, name: str) -> None:
    assert name_of(ServiceSpec(), folder) == name


@pytest.mark.parametrize("folder", ["", "模型", "2nd-model", "---"])
def test_a_folder_that_gives_no_name_is_told_so_with_what_to_write(folder: str) -> None:
    with pytest.raises(BadInput, match="the service has no name") as caught:
        name_of(ServiceSpec(), folder)
    assert "write `name: …`" in caught.value.next_step


@given(st.text() | st.text("aäßé0-_ ", max_size=60))
def test_a_name_from_a_folder_is_one_that_a_spec_may_say(folder: str) -> None:
    """Docker refuses `müller-modell`, and did so in the middle of the deploy."""
    with suppress(BadInput):
        assert ServiceSpec(name=name_of(ServiceSpec(), folder)).name


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


# In pieces, so that nobody who looks for credentials finds some here.
CREDENTIALS = {
    "a private key": "-----BEGIN " + "EC PRIVATE KEY-----\nMHcCAQEE",
    "an AWS access key": "AKIA" + "Q3EGUB7ZT5KXWDNM",
    "a Google API key": "AI" + "za" + "Sy0_aB-" * 5,
    "a Google access token": "ya29." + "a0AfB_byC" * 3,
    "a Google client secret": "GOC" + "SPX-" + "ab-12_z" * 4,
    "a GitHub token": "gh" + "p_" + "aB3" * 12,
    "a GitLab token": "gl" + "pat-" + "aB3-" * 5,
    "a Hugging Face token": "hf" + "_" + "aB" * 17,
    "an OpenAI key": "sk-proj-aB3" + "T3Blbk" + "FJaB3",
    "an Anthropic key": "sk-" + "ant-api03-" + "aB3" * 8,
    "a Slack token": "xox" + "b-12345678901-aB3",
    "a Stripe key": "sk" + "_live_" + "aB3" * 8,
    "a URL with a password": "postgresql+psycopg://iris:" + "hunter2@database:5432/iris",
}


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_a_credential_in_the_open_is_refused_without_being_shown(kind: str) -> None:
    value = CREDENTIALS[kind]
    wrapped = json.dumps(f"--with={value} and more")
    for spec, place in (
        (f"run: {{env: {{DATABASE_URL: {json.dumps(value)}}}}}", "run.env.DATABASE_URL"),
        (f"run: {{command: [serve, {wrapped}]}}", "run.command.1"),
        (f"build: {{args: {{TOKEN: {wrapped}}}}}", "build.args.TOKEN"),
    ):
        with pytest.raises(BadInput) as caught:
            parse_spec(spec)
        assert caught.value.what.startswith(f"`{place}` is {kind},")
        assert "run.secrets" in caught.value.expected
        assert value[-12:] not in str(caught.value)
    parse_spec(f"run: {{secrets: {{DATABASE_URL: database-url}}, env: {{OTHER: {kind}}}}}")


@pytest.mark.parametrize(
    ("text", "what", "got"),
    [
        ("run: {env: ['TOKEN=hunter2']}", "`run.env` is not right", "a list"),
        ("run: {env: {TOKEN: hunter2}, resources: {gpus: 1}}", "`run` is not right", "a mapping"),
        ("run: {env: {PIN: 1234567}}", "`run.env.PIN` is not right", "a value that is not shown here"),
        ("run: {env: 'TOKEN=hunter2'}", "`run.env` is not right", "a value that is not shown here"),
        ("run: {env: {TOKEN=hunter2}}", "`run.env.TOKEN` is not right", "nothing"),
        ("run: {env: {TOKEN:hunter2}}", "`run.env.TOKEN` is not right", "nothing"),
        ("run: {TOKEN=hunter2}", "unknown key `run.TOKEN`", "TOKEN"),
        ("run: 'env:hunter2'", "`run` is not right", "a value that is not shown here"),
        ("run: {secrets: [TOKEN=hunter2]}", "`run.secrets` is not right", "a list"),
        (
            "run: {command: serve --token hunter2}",
            "`run.command` is not right",
            "a value that is not shown here",
        ),
        ("build: {args: {PIN: 1234567}}", "`build.args.PIN` is not right", "a value that is not shown here"),
        (
            "smoke: [{headers: {Authorization: 1234567}}]",
            "`smoke.0.headers.Authorization` is not right",
            "a value that is not shown here",
        ),
        ("smoke: [{name: a, headers: {X: hunter2}}, {name: a}]", "`smoke` is not right", "a list"),
        ("run: {port: many}", "`run.port` is not right", "'many'"),
    ],
)
def test_a_mistake_beside_a_credential_does_not_show_it(text: str, what: str, got: str) -> None:
    """Neither to the person, nor in a flow's log, which has the traceback."""
    with pytest.raises(BadInput) as caught:
        parse_spec(text)
    assert (caught.value.what, caught.value.got) == (what, got)
    told = "".join(traceback.format_exception(caught.value))
    assert not re.search("hunter2|1234567", told)


@pytest.mark.parametrize(
    "value",
    [
        "postgres://iris@database/iris", "http://proxy:3128", "redis://:$PASSWORD@cache:6379", "amqp://me:{password}@mq",
        "https://example.com/a:b@c", "gs://bucket/models:v1@2", "user:password@example.com", "AKIAlooksliketheothers",
        "skip-learn-sk-learn", "sk-learn", "hf_hub_cache", "ghp_cache", "python -m iris --token-limit=512", "sha256:" + "ab" * 32,
        "550e8400-e29b-41d4-a716-446655440000", "-----BEGIN CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----", "AIzawa",
        "xoxb-style", "eyJhbGciOiJub25lIn0", "projects/p/secrets/s", "http://10.0.0.1:8080/a?x=1@2", "ssh://git@host:22/x",
    ],
)  # fmt: skip
def test_an_ordinary_value_is_no_credential(value: str) -> None:
    parse_spec(f"run: {{env: {{VALUE: {json.dumps(value)}}}}}")
