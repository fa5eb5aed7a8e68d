"""What is chosen once on a machine, for each environment its own."""

import json
from pathlib import Path

from deployments.machine.home import SHIPPED, Home


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


def test_the_environments_file_that_was_applied_is_the_one_that_counts(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert home.environments_file == SHIPPED
    home.remember_environments(tmp_path / "ours.yaml")
    assert Home(home.path).environments_file == tmp_path / "ours.yaml"
    home.remember_environments(SHIPPED)  # which may lie elsewhere after an upgrade
    assert home.chosen().environments_file is None
