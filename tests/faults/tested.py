"""The sample service with a test stage, and the containers that its tests run in."""

import subprocess

from tests.place import SPEC, Place

TESTED = """FROM python:3.11-slim AS base
COPY app.py /app.py
EXPOSE 8000
CMD ["python", "-S", "/app.py"]
FROM base AS test
COPY junit.xml /reports/junit.xml
CMD %s
FROM base
"""
FINE = '<testsuite tests="1"><testcase classname="test_model" name="test_shape" time="0.1"/></testsuite>'
WITH_TESTS = SPEC % ("", 0, 30) + "test: {target: test, timeout: 3}\n"


def commit(place: Place, command: str, junit: str = FINE, dockerfile: str = TESTED) -> None:
    (place.repository / "Dockerfile").write_text(dockerfile % command if "%s" in dockerfile else dockerfile)
    (place.repository / "junit.xml").write_text(junit)
    place.commit(spec=WITH_TESTS)


def containers_of_tests(place: Place, status: str = "") -> list[str]:
    """The ids of those that tests of this place's service run or ran in."""
    known = place.api("POST", "/block_documents/filter", include_secrets=False)
    (document,) = [
        one["id"] for one in known if one["name"] == "local" and one["block_type"]["slug"] == "environment"
    ]
    ours = ["--filter", f"label=model-deploy.tests=model-deploy-build/sample-{document}"]
    argv = ["docker", "ps", "-aq", *ours, *(["--filter", f"status={status}"] if status else [])]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
