"""`model-deploy apply`, with a real Prefect server."""

import os
import subprocess
import sys
from pathlib import Path

from tests.deployments.conftest import ENVIRONMENTS, PrefectServer

OLD = """
  old:
    registry: {prefix: "${registry}"}
    target: {home: "${home}", node: "${node}", ports: "${ports}"}
    store: {path: "${home}/store"}
"""


def applied(server: PrefectServer, file: Path) -> list[str]:
    done = server.model_deploy("apply", str(file))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_environment_that_was_taken_out_of_the_file_is_told_with_the_command_that_ends_it(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    before, now = tmp_path / "before.yaml", prefect_server.home.path.parent / "environments.yaml"
    before.write_text(ENVIRONMENTS + OLD)
    assert applied(prefect_server, before)[-1] == "old: created"
    *same, told = applied(prefect_server, now)
    assert same == ["local: unchanged", "examples: unchanged"]
    words, _, command = told.partition("; to end that: ")
    assert words == "old: not in this file, and still released to"
    with_prefect = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(command, shell=True, env=with_prefect, check=True, capture_output=True, timeout=120)
    assert applied(prefect_server, now) == same
