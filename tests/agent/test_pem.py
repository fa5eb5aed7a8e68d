"""A certificate is judged before it is served."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent import pem
from tests.certificates import certificate


def judged(text: str, folder: Path, *hosts: str) -> datetime:
    try:
        return pem.check(pem.normal(text), list(hosts), folder)
    finally:
        assert list(folder.iterdir()) == [], "a key is left lying about"


def test_one_that_fits_is_told_with_its_end(tmp_path: Path) -> None:
    text = "a comment\n\n" + certificate("iris.test", "*.wild.test", days=30).replace(
        "-----END", "\n-----END"
    )
    ends = judged(text, tmp_path, "iris.test", "a.wild.test")
    assert 29 <= (ends - datetime.now(UTC)).days <= 30
    assert "\n\n" not in pem.normal(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (certificate("other.test"), "Hostname mismatch, certificate is not valid for 'iris.test'"),
        (certificate("iris.test", days=-1), "certificate has expired"),
        (certificate("iris.test").split("-----BEGIN PRIVATE")[0], "it holds no private key"),
        ("-----BEGIN" + certificate("iris.test").split("-----BEGIN")[2], "it holds no certificate"),
        (
            certificate("iris.test").split("-----BEGIN PRIVATE")[0]
            + "-----BEGIN"
            + certificate("iris.test").split("-----BEGIN")[2],
            "its key is another certificate's",
        ),
        (certificate("iris.test").replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "is encrypted"),
        (certificate("iris.test").replace("MIIB", "!!!!"), "OpenSSL cannot read it"),
        (certificate("iris.test").replace("MIIB", "MIIÄ"), "a block of it is not plain ASCII"),
        ("hello", "it holds no certificate"),
    ],
    ids=["host", "expired", "no key", "no certificate", "mismatch", "encrypted", "broken", "letters", "junk"],
)
def test_one_that_does_not_is_refused_with_the_reason_and_without_the_key(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(pem.Unfit) as caught:
        judged(text, tmp_path, "iris.test")
    assert said in str(caught.value)
    assert not [line for line in text.splitlines() if line in str(caught.value) and line != "hello"]


def test_the_end_of_one_that_has_ended_is_known(tmp_path: Path) -> None:
    path = tmp_path / "ended.pem"
    path.write_text(certificate("iris.test", days=-3))
    assert -5 <= (pem.expires(path) - datetime.now(UTC)).days <= -3
