"""Which service is where at a node's edge, and who is refused."""

import json
from datetime import UTC, datetime

import pytest

from releases import fleet
from releases import place as places
from releases.desired import Candidate, Desired, ServiceDesired
from releases.place import Place, choose
from releases.problem import BadInput, Refused
from releases.release import Release
from releases.spec import Run
from releases.spec_file import read_spec

IRIS = ("iris.example.com",)
CHURN = ("churn.example.com", "churn.example.org")


def release(service: str, port: int, *names: str, number: int = 1) -> Release:
    run = {"hosts": {"production": {"names": names}}} if names else {}
    return Release(
        service=service, environment="production", number=number, image="i@sha256:" + "0" * 64, version="1",
        port=80, public_port=port, run=Run.model_validate(run), confirm_window=60, created=datetime.now(UTC),
    )  # fmt: skip


def test_services_with_names_share_the_first_port_and_one_without_gets_its_own() -> None:
    there = [("iris", Place(80, IRIS))]
    assert choose("churn", None, CHURN, [80, 81], there) == 80
    assert choose("plain", None, (), [80, 81], there) == 81


def test_a_service_keeps_the_port_it_had() -> None:
    assert (
        choose("iris", None, IRIS, [80, 81], [("churn", Place(80, CHURN)), ("iris", Place(81, IRIS))]) == 81
    )
    assert choose("iris", None, (), [80, 81], [("iris", Place(81))]) == 81


@pytest.mark.parametrize(
    ("wanted", "hosts", "there", "said"),
    [
        (80, CHURN, ("iris", Place(80)), "taken by iris\n  next: give iris host names too"),
        (
            80,
            (),
            ("iris", Place(80, IRIS)),
            "shared by host name (iris.example.com)\n  next: give the service",
        ),
        (80, (), ("iris", Place(80)), "got: taken by iris"),
        (99, CHURN, ("iris", Place(80, IRIS)), "not one of the edge's ports"),
        (None, (), ("iris", Place(80)), "every port of the edge is taken"),
        (None, CHURN[1:], ("iris", Place(80, CHURN)), "churn.example.org is iris's"),
        (80, CHURN[1:], ("iris", Place(81, CHURN)), "churn.example.org cannot be a host name of other"),
    ],
)
def test_what_another_service_has_is_refused_with_its_name(
    wanted: int | None, hosts: tuple[str, ...], there: tuple[str, Place], said: str
) -> None:
    with pytest.raises(Refused) as caught:
        choose("other", wanted, hosts, [80], [there])
    assert said in str(caught.value)


def test_a_name_is_taken_by_what_is_on_trial_and_by_what_it_would_replace() -> None:
    trial = Candidate(release=release("iris", 80, *IRIS, number=2), key_sha256="0")
    part = ServiceDesired(generation=2, confirmed=release("iris", 80, *CHURN), candidate=trial)
    known = places.taken(Desired(services={"iris": part}))
    for names in (IRIS, CHURN):
        with pytest.raises(Refused, match="iris's"):
            places.check(release("other", 80, *names), known)
    places.check(release("iris", 80, *CHURN), known)
    places.check(release("other", 80, "other.example.com"), known)


def test_a_document_takes_no_second_owner_of_a_name_whoever_wrote_first() -> None:
    text = fleet.document("", "iris", ServiceDesired(generation=1, confirmed=release("iris", 80, *IRIS)))
    late = ServiceDesired(
        generation=1, candidate=Candidate(release=release("other", 80, *IRIS), key_sha256="0")
    )
    with pytest.raises(Refused, match=r"iris\.example\.com is iris's"):
        fleet.document(text, "other", late)


def test_a_release_without_names_has_the_fingerprint_it_had_before_there_were_any() -> None:
    assert "hosts" not in json.loads(release("iris", 80).model_dump_json())["run"]
    assert release("iris", 80, *IRIS).hosts == IRIS


@pytest.mark.parametrize(
    "name", ["Iris.example.com", "iris.example.com:80", "http://iris", "*.example.com", ""]
)
def test_a_name_that_is_none_is_refused(tmp_path, name: str) -> None:
    text = f"run: {{hosts: {{production: {{names: [{json.dumps(name)}]}}}}}}\n"
    (tmp_path / "model-deploy.yaml").write_text(text)
    with pytest.raises(BadInput, match="hosts"):
        read_spec(tmp_path)
