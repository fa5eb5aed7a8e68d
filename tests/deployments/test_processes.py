"""What a team runs on one host: the same processes by hand, by compose and by systemd."""

import importlib
import re
from pathlib import Path

import pytest
import yaml
from docker.types import HostConfig
from prefect.utilities.callables import parameter_schema
from prefect_docker.worker import DockerWorker

from deployments.machine.home import Home
from deployments.pools import RELEASES, in_a_container, with_defaults
from deployments.processes import POOLS, SERVER_HOST, Process, command
from releases.problem import BadInput

DEPLOYMENTS = Path(__file__).parent.parent.parent / "deployments"
FLOWS = yaml.safe_load((DEPLOYMENTS.parent / "prefect.yaml").read_text())["deployments"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_every_flow_runs_in_a_pool_that_a_process_works_off() -> None:
    assert {flow["work_pool"]["name"] for flow in FLOWS} <= set(POOLS.values())


def test_every_schedule_has_a_time_zone_and_one_run_at_a_time() -> None:
    scheduled = [flow for flow in FLOWS if flow.get("schedules")]
    assert scheduled
    for flow in scheduled:
        assert all(one.get("timezone") for one in flow["schedules"]), flow["name"]
        assert flow["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}, flow["name"]


def test_no_deploy_holds_a_lease_that_an_outage_of_prefect_would_end() -> None:
    queued = {flow["name"] for flow in FLOWS if flow["work_pool"].get("work_queue_name") == RELEASES}
    assert queued == {"release", "rollback", "promote", "check", "provision"}
    assert not [flow["name"] for flow in FLOWS if flow["name"] in queued and "concurrency_limit" in flow]


def test_every_flow_says_what_it_is_for() -> None:
    for flow in FLOWS:
        assert flow["description"].endswith("."), flow["name"]
        assert flow["tags"], flow["name"]


def test_a_scheduled_run_is_logged_in_at_google_cloud_as_its_host_is(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = tmp_path / "login.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(login))
    assert "GOOGLE_APPLICATION_CREDENTIALS" not in in_a_container(home)["env"]
    login.write_text("{}")
    settings = in_a_container(home)
    assert f"{login}:{login}:ro" in settings["volumes"]
    assert settings["env"]["GOOGLE_APPLICATION_CREDENTIALS"] == str(login)


def test_a_scheduled_run_sees_the_home_and_what_it_writes_is_ours(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
    template = with_defaults(DockerWorker.get_default_base_job_template(), in_a_container(home))
    defaults = {name: one.get("default") for name, one in template["variables"]["properties"].items()}
    assert defaults["volumes"] == [f"{home.path}:{home.path}"]
    assert re.fullmatch(r"\d+:\d+", defaults["container_create_kwargs"]["user"])
    assert defaults["image_pull_policy"] == "Never"


def test_the_log_of_a_scheduled_run_cannot_fill_the_disk(home: Home) -> None:
    asked = in_a_container(home)["container_create_kwargs"]
    sent = HostConfig(version="1.41", log_config=asked["log_config"])["LogConfig"]  # as docker-py reads it
    assert sent == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}


@pytest.mark.parametrize("flow", [flow["entrypoint"] for flow in FLOWS])
def test_every_parameter_is_explained_in_the_form(flow: str) -> None:
    file, _, name = flow.partition(":")
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    schema = parameter_schema(getattr(module, name)).model_dump()
    silent = [name for name, one in schema["properties"].items() if not one.get("description")]
    assert not silent


def test_compose_runs_every_process() -> None:
    compose = yaml.safe_load((DEPLOYMENTS / "compose.yaml").read_text())
    commands = [one.get("command", "") for one in compose["services"].values()]
    run = {words.rpartition(" ")[2] for words in commands if words.startswith("model-deploy run ")}
    assert run == set(Process)
    assert "model-deploy up --no-start" in commands
    assert all(one["logging"]["options"]["max-size"] for one in compose["services"].values())


def test_systemd_runs_every_process() -> None:
    unit = (DEPLOYMENTS / "systemd" / "model-deploy.service").read_text()
    assert set(re.findall(r"model-deploy@(\w+)\.service", unit)) == set(Process)
    template = (DEPLOYMENTS / "systemd" / "model-deploy@.service").read_text()
    assert "/bin/model-deploy run %i\n" in template
    for one in (unit, template):  # systemd makes the folder, and the user's own
        assert "StateDirectory=model-deploy\nEnvironment=MODEL_DEPLOY_HOME=/var/lib/model-deploy\n" in one


def test_the_servers_and_receivers_ports_are_the_remembered_ones(home: Home) -> None:
    chosen = home.chosen()
    assert command(Process.server, home)[-2:] == ["--port", str(chosen.prefect_port)]
    assert command(Process.receiver, home)[-2:] == ["--port", str(chosen.receiver_port)]


def test_a_process_that_does_not_exist_is_told_with_those_that_do() -> None:
    from deployments.cli import run_process

    with pytest.raises(BadInput, match="there is no process wroker") as told:
        run_process("wroker")
    assert "server, worker, scheduled, receiver" in told.value.expected


@pytest.mark.parametrize(
    ("process", "host", "said", "listens"),
    [
        ("server", "", "", "127.0.0.1"),
        ("server", "", "0.0.0.0", "0.0.0.0"),
        ("server", "10.0.0.7", "0.0.0.0", "10.0.0.7"),
        ("receiver", "", "0.0.0.0", "127.0.0.1"),
    ],
)
def test_the_server_listens_where_prefects_own_variable_says(
    home: Home, monkeypatch: pytest.MonkeyPatch, process: str, host: str, said: str, listens: str
) -> None:
    from deployments.cli import run_process

    started: list[list[str]] = []
    monkeypatch.setenv("MODEL_DEPLOY_HOME", str(home.path))
    monkeypatch.setenv(SERVER_HOST, said)
    monkeypatch.setattr("os.execve", lambda _program, argv, _environment: started.append(argv))
    run_process(process, host)
    (argv,) = started
    assert argv[argv.index("--host") + 1] == listens


def test_compose_and_the_page_hand_on_what_brings_the_server_in_reach() -> None:
    compose = yaml.safe_load((DEPLOYMENTS / "compose.yaml").read_text())
    given = compose["services"]["server"]["environment"]
    page = (DEPLOYMENTS.parent / "docs" / "run-it-for-a-team.md").read_text()
    for name in (SERVER_HOST, "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"):
        assert name in given
        assert given[name] is None, "as it is where docker compose runs"
        assert f"{name}=" in page


def test_the_page_names_what_the_workflow_of_github_actions_reads() -> None:
    docs = DEPLOYMENTS.parent / "docs"
    workflow, page = ((docs / name).read_text() for name in ("model-deploy.workflow.yml", "github.md"))
    read = set(re.findall(r"\b(?:vars|secrets)\.(\w+)", workflow))
    assert {"MODEL_DEPLOY_PORT", "PREFECT_API_AUTH_STRING"} <= read
    assert not {name for name in read if f"`{name}`" not in page}
    (tunnel,) = re.findall(r"start-iap-tunnel (\S+) (\S+) --local-host-port=(\S+)", workflow)
    assert tunnel[:2] == ('"$HOST"', '"$PORT"')
    assert f"PREFECT_API_URL: http://{tunnel[2]}/api" in workflow
