"""What a newcomer's machine may lack: script/bootstrap and script/demo mend it, or say what to type."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deployments.stack import ROOT

Put = Callable[[str, str], None]
NO_VENV = 'case "$*" in *venv*) echo "ensurepip is not available"; mkdir -p .uv; exit 1;; esac'
MAKES_UV = """case "$*" in
*venv*) mkdir -p .uv/bin; printf '#!/bin/sh\\necho pip "$@" >> said; cp uv .uv/bin/uv\\n' > .uv/bin/pip; chmod +x .uv/bin/pip;;
*executable*) echo /the/python;;
esac"""
UV = '#!/bin/sh\necho uv "$@" >> said\nmkdir -p .venv/bin; printf "#!/bin/sh\\n" > .venv/bin/python; chmod +x .venv/bin/python\n'


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout with script/bootstrap alone, and a PATH with next to nothing on it."""
    (tmp_path / "script").mkdir()
    shutil.copy(ROOT / "script/bootstrap", tmp_path / "script")
    (tmp_path / "uv.lock").touch()
    (tmp_path / "uv").write_text(UV)
    (tmp_path / "uv").chmod(0o755)
    (tmp_path / "said").touch()
    (tmp_path / "bin").mkdir()
    for name in ("bash", "sh", "env", "cp", "chmod", "dirname", "mkdir", "rm", "touch"):
        found = shutil.which(name)
        assert found
        (tmp_path / "bin" / name).symlink_to(found)
    return tmp_path


@pytest.fixture
def put(machine: Path) -> Put:
    """Puts a small script on PATH."""

    def one(name: str, script: str) -> None:
        program = machine / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return one


def run(machine: Path, script: Path) -> "subprocess.CompletedProcess[str]":
    kept = {name: os.environ[name] for name in ("HOME", "MODEL_DEPLOY_HOME") if name in os.environ}
    environment = {**kept, "PATH": str(machine / "bin")}
    return subprocess.run([script], env=environment, capture_output=True, text=True, check=False, timeout=60)


def bootstrap(machine: Path) -> "subprocess.CompletedProcess[str]":
    return run(machine, machine / "script/bootstrap")


def said(machine: Path) -> list[str]:
    """What was run, in order."""
    return (machine / "said").read_text().splitlines()


FIRST = "uv sync --frozen --python /the/python"  # with its own progress
SYNC = "uv sync --frozen --quiet --python /the/python"


def test_a_uv_on_path_is_used(machine: Path, put: Put) -> None:
    put("python3", MAKES_UV)
    shutil.copy(machine / "uv", machine / "bin/uv")
    done = bootstrap(machine)
    assert (done.returncode, done.stderr, said(machine)) == (0, "", [FIRST])
    assert not (machine / ".uv").exists()


def test_without_uv_one_is_made_once(machine: Path, put: Put) -> None:
    put("python3", MAKES_UV)
    for _ in range(2):
        assert bootstrap(machine).returncode == 0
    assert said(machine) == ["pip install --quiet --disable-pip-version-check uv", FIRST, SYNC]


def test_the_first_run_shows_what_takes_so_long_and_later_ones_are_quiet(machine: Path, put: Put) -> None:
    put("python3", MAKES_UV)
    shutil.copy(machine / "uv", machine / "bin/uv")
    first, later = bootstrap(machine), bootstrap(machine)
    assert first.stdout.startswith("==> installing what uv.lock names into .venv/\n")
    assert (later.stdout, later.stderr) == ("", "")
    assert said(machine) == [FIRST, SYNC]


def test_every_script_that_the_docs_name_is_a_target_of_make() -> None:
    rows = re.findall(r"^\| `script/([\w-]+)`", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    targets = (ROOT / "Makefile").read_text().splitlines()[1].partition(":")[0].split()
    assert set(rows) <= set(targets)


def test_a_python_that_is_too_old_is_passed_over_for_a_newer_one(machine: Path, put: Put) -> None:
    put("python3", "exit 1")
    put("python3.12", MAKES_UV)
    assert bootstrap(machine).returncode == 0
    assert said(machine)[-1] == FIRST


def test_without_a_python_that_is_new_enough_it_says_which(machine: Path, put: Put) -> None:
    put("python3", "exit 1")
    done = bootstrap(machine)
    assert done.returncode == 1
    assert done.stderr == (
        "error: Python 3.11 or newer is needed; none is on PATH\n"
        "  next: sudo apt-get install python3 (Debian 12, Ubuntu 24.04, or newer), or see python.org\n"
    )


def test_without_venv_and_without_root_it_says_what_to_install(machine: Path, put: Put) -> None:
    put("python3", NO_VENV)
    put("apt-get", "exit 0")
    put("id", "echo 1000")
    done = bootstrap(machine)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "==> no uv on PATH: making one in .uv/\n"
        "error: Python's venv module is missing\n"
        "  next: sudo apt-get install python3-venv\n"
    )
    assert not (machine / ".uv").exists()


def test_without_venv_root_gets_it(machine: Path, put: Put) -> None:
    put("python3", f"[ -e installed ] || {NO_VENV}\n{MAKES_UV}")
    put("apt-get", 'echo apt-get "$@" >> said; [ "$1" = update ] || touch installed')
    put("id", "echo 0")
    done = bootstrap(machine)
    assert done.returncode == 0
    assert said(machine) == [
        "apt-get update -qq",
        "apt-get install -y -qq python3-venv",
        "pip install --quiet --disable-pip-version-check uv",
        FIRST,
    ]
    assert done.stderr == "==> no uv on PATH: making one in .uv/\n==> installing python3-venv\n"


def test_where_apt_fails_its_words_and_the_next_command_are_said(machine: Path, put: Put) -> None:
    put("python3", NO_VENV)
    put("apt-get", "echo 'E: no network' >&2; exit 100")
    put("id", "echo 0")
    done = bootstrap(machine)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-3:] == [
        "E: no network",
        "error: python3-venv cannot be installed",
        "  next: apt-get update && apt-get install python3-venv",
    ]


DOWN = 'echo "28.2.2 <no value>"; echo "Cannot connect to the Docker daemon" >&2; exit 1'
NOT_MINE = 'echo "permission denied while trying to connect to the Docker daemon socket" >&2; exit 1'
NO_BUILDX = '[ "$1" = buildx ] && exit 1; echo 28.2.2 27.1.0'


@pytest.mark.parametrize(
    ("docker", "what", "step"),
    [
        (
            "",
            "no container engine answers",
            "sudo apt-get install docker.io (Debian, Ubuntu), or Docker Desktop",
        ),
        (DOWN, "no container engine answers", "sudo systemctl start docker, or start Docker Desktop"),
        (NOT_MINE, "no container engine answers", "sudo usermod -aG docker $USER, then log in again"),
        (
            NO_BUILDX,
            "no docker on this machine can build with BuildKit",
            "apt-get install docker-buildx (Debian, Ubuntu), or see docs.docker.com/build",
        ),
    ],
)
def test_the_demo_without_an_engine_says_what_to_type(
    machine: Path, put: Put, docker: str, what: str, step: str
) -> None:
    """Of this checkout, with its own .venv; without apt-get on PATH nobody may install."""
    put("python3", MAKES_UV)
    put("uv", "exit 0")
    if docker:
        put("docker", docker)
    done = run(machine, ROOT / "script/demo")
    assert done.returncode == 4
    assert done.stderr.startswith(f"error: {what}"), done.stderr
    assert done.stderr.splitlines()[-1].strip() == f"next: {step}"
