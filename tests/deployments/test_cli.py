"""The command line where no engine and no server is needed."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
MODEL_DEPLOY = str(Path(sys.executable).parent / "model-deploy")
HEAVY = ("prefect", "docker", "httpx", "google", "jsonschema")


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, deployments.cli; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_the_commands_and_the_exit_codes() -> None:
    done = subprocess.run([MODEL_DEPLOY, "--help"], capture_output=True, text=True, check=True)
    for word in ("release", "rollback", "status", "history", "logs", "apply", "doctor", "Exit codes"):
        assert word in done.stdout


def test_the_published_schema_is_the_one_the_code_has() -> None:
    done = subprocess.run([MODEL_DEPLOY, "schema"], capture_output=True, text=True, check=True)
    published = (ROOT / "docs" / "model-deploy.schema.json").read_text(encoding="utf-8")
    assert json.loads(published) == json.loads(done.stdout)
