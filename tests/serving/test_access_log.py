import logging

import pytest

from serving.access_log import WithoutProbes


@pytest.mark.parametrize(("path", "shown"), [("/healthz", False), ("/predict", True), ("/version", True)])
def test_probes_stay_out_of_the_log(path: str, shown: bool) -> None:
    arguments = ("127.0.0.1:5", "GET", path, "1.1", 200)
    record = logging.LogRecord("uvicorn.access", logging.INFO, "", 0, '%s "%s %s"', arguments, None)
    assert WithoutProbes().filter(record) is shown


def test_other_lines_pass() -> None:
    assert WithoutProbes().filter(logging.LogRecord("uvicorn", logging.INFO, "", 0, "started", None, None))
