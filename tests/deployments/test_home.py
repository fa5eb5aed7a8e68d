"""What is chosen once on a machine, for each environment its own."""

import json
import socket
from pathlib import Path

import pytest

from blocks.docker_client import BuildKit, DockerClient
from deployments.machine import home as module
from deployments.machine.home import SHIPPED, Home
from deployments.machine.registry import start_command
from releases.problem import BadInput


def test_every_environment_has_a_node_a_folder_and_ports_of_its_own(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    shares = [home.share(name) for name in ("local", "staging", "production")]
    assert len({share.node for share in shares}) == 3
    assert len({share.path for share in shares}) == 3
    ports = [port for share in shares for port in share.ports]
    assert len(set(ports)) == len(ports)
    assert [Home(home.path).share(name) for name in ("local", "staging", "production")] == shares
    assert Home(home.path).shares() == shares


def test_what_was_chosen_before_there_were_others_stays(tmp_path: Path) -> None:
    old = {"node": "mine", "registry_port": 1, "prefect_port": 2, "edge_ports": [3, 4]}
    (tmp_path / "machine.json").write_text(json.dumps(old))
    home = Home(tmp_path)
    home.share("staging")
    local = home.share("local")
    assert (local.path, local.node, local.ports) == (tmp_path, "mine", [3, 4])
    assert home.chosen().registry_port == 1


def test_two_processes_that_start_at_once_choose_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports, others = module.free_ports, []

    def another_is_faster(count: int) -> list[int]:
        monkeypatch.setattr(module, "free_ports", ports)
        others.append(Home(tmp_path).chosen())
        return ports(count)

    monkeypatch.setattr(module, "free_ports", another_is_faster)
    assert [Home(tmp_path).chosen()] == others
    assert [file.name for file in tmp_path.glob("machine*")] == ["machine.json"]


def test_a_home_that_cannot_be_written_to_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be kept here") as told:
        Home(tmp_path / "file" / "home").chosen()
    assert "MODEL_DEPLOY_HOME" in told.value.next_step


def test_the_environments_file_that_was_applied_is_the_one_that_counts(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert home.environments_file == SHIPPED
    home.remember_environments(tmp_path / "ours.yaml")
    assert Home(home.path).environments_file == tmp_path / "ours.yaml"
    home.remember_environments(SHIPPED)  # which may lie elsewhere after an upgrade
    assert home.chosen().environments_file is None


def test_the_registrys_port_is_remembered_for_digests_are_recorded_with_it(tmp_path: Path) -> None:
    first = Home(tmp_path).chosen()
    with socket.create_server(("127.0.0.1", first.registry_port)):  # as once the registry is up
        again = Home(tmp_path).chosen()
    assert again == first
    command = start_command(DockerClient("docker", BuildKit.buildx), again.node, again.registry_port)
    assert f"127.0.0.1:{first.registry_port}:5000" in command
