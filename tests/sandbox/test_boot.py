"""VMs that boot: what is understood of user-data and units, and what is refused aloud."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from sandbox.boot import unit, user_data
from sandbox.boot.service import Service
from sandbox.boot.user_data import NotUnderstood
from tests.sandbox.conftest import ZONE, eventually

UNIT = """
[Unit]
Description=a
[Service]
Environment=A=%H B=%b
EnvironmentFile=-/etc/default/a
ExecStart=/bin/bash /etc/a.sh
Restart=always
RestartSec=50ms
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/bin/sh\n", "begins with #cloud-config"),
        ("#cloud-config\npackages: [curl]\n", "packages of user-data"),
        ("#cloud-config\nwrite_files: [{path: /a, content: b, append: true}]\n", "append of the file /a"),
    ],
)
def test_user_data_that_is_not_understood_is_refused(text: str, said: str) -> None:
    with pytest.raises(NotUnderstood, match=said):
        user_data.read(text)


@pytest.mark.parametrize(
    ("line", "said"),
    [("User=nobody", "User of a"), ("ExecStart=/bin/a %i", "systemd's %i"), ("RestartSec=1min", "time span")],
)
def test_a_unit_that_is_not_understood_is_refused(line: str, said: str) -> None:
    with pytest.raises(NotUnderstood, match=said):
        unit.read("a", f"{UNIT}{line}\n", {"H": "host", "b": "boot"})


def test_a_unit_is_run_with_the_vms_own_files_until_it_is_killed(tmp_path: Path) -> None:
    (tmp_path / "etc/default").mkdir(parents=True)
    (tmp_path / "etc/default/a").write_text("# no\nB=c\n")
    (tmp_path / "etc/a.sh").write_text("echo $A-$B; [ $A = host ] && exit 3\n")
    said: list[str] = []
    read = unit.read("a", UNIT, {"H": "host", "b": "boot"})
    service = Service(read, tmp_path, tmp_path / "bin", said.append)
    service.start()
    eventually(lambda: said.count("host-c") >= 2)
    service.kill()
    assert "a: ended with code 3" in said
    assert not service.thread.is_alive()


@pytest.mark.containers
def test_the_program_boots_vms_and_their_console_says_what_is_wrong() -> None:
    argv = [sys.executable, "-m", "sandbox", "--machines"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        at = json.loads(process.stdout.readline())
        instances = f"/compute/v1/projects/{at['project']}/zones/{ZONE}/instances"
        headers = {"Authorization": f"Bearer {at['token']}"}
        with httpx.Client(base_url=at["api"], headers=headers, timeout=30) as http:
            vm = {
                "name": "a",
                "machineType": f"zones/{ZONE}/machineTypes/e2-medium",
                "networkInterfaces": [{}],
            }
            disks = [
                {"boot": True, "initializeParams": {"sourceImage": "projects/cos-cloud/global/images/x"}}
            ]
            data = {"items": [{"key": "user-data", "value": "#cloud-config\nruncmd: [reboot now]\n"}]}
            http.post(instances, json={**vm, "disks": disks, "metadata": data}).raise_for_status()
            refused = "does not implement the command reboot now"
            eventually(lambda: refused in http.get(f"{instances}/a/serialPort").text, 30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        _, errors = process.communicate()
    assert not errors
