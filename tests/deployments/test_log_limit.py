"""Doctor's word on the engine's default log limit."""

import pytest

from deployments.log_limit import judge


@pytest.mark.parametrize(
    ("driver", "settings", "said"),
    [
        ("json-file", "", "WARNING: none by default"),
        ("json-file", '{"log-driver": "json-file"}', "WARNING: none by default"),
        ("json-file", '{"log-opts": {"max-size": "10m", "max-file": "5"}}', "10m x 5"),
        ("json-file", "{", "cannot be read"),
        ("local", "", "rotates by itself"),
        ("journald", "", "the export need json-file"),
    ],
)
def test_an_engine_without_a_limit_is_warned_of(driver: str, settings: str, said: str) -> None:
    assert said in judge(driver, settings)
