"""Which certificates are fetched, when, and what a person who describes them meets."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.environments_file import parse
from releases import acme, fleet, place
from releases.acme import LETS_ENCRYPT, Held, Issuer, Want
from releases.desired import Desired, ServiceDesired
from releases.problem import BadInput, Refused
from releases.spec import ServiceSpec
from releases.spec_file import parse_spec
from tests.releases.test_place import release

NOW = datetime(2026, 11, 25, tzinfo=UTC)
NAMES = ("iris.example.com", "www.iris.example.com")


def certificate(left: float, life: float = 90, names: tuple[str, ...] = NAMES) -> Held:
    ends = NOW + timedelta(days=left)
    return Held(names, "Let's Encrypt", ends - timedelta(days=life), ends)


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (None, "there is none"),
        (certificate(31), ""),
        (certificate(29), "it ends on 2026-12-24"),
        (certificate(-1), "it ended on 2026-11-24"),
        (certificate(3, life=6), ""),
        (certificate(1.9, life=6), "it ends on 2026-11-26"),
        (certificate(80, names=NAMES[:1]), "it is not for www.iris.example.com"),
        (certificate(80, names=(*NAMES, "more.example.com")), ""),
    ],
)
def test_it_is_fetched_when_there_is_none_for_the_names_or_a_third_of_its_life_is_left(
    held: Held | None, why: str
) -> None:
    assert acme.due(NAMES, held, NOW) == why


def test_a_release_waits_for_no_renewal_of_one_that_nodes_would_serve() -> None:
    assert acme.unfit(NAMES, certificate(1), NOW) == ""
    assert acme.unfit(NAMES, certificate(0), NOW)
    assert acme.unfit(NAMES, None, NOW)


def test_services_that_name_one_secret_share_one_certificate() -> None:
    wants = [
        Want("iris", "tls", ("iris.test", "new.test"), True),
        Want("iris", "tls", ("iris.test",), True),  # what is live before the release
        Want("churn", "tls", ("churn.test",), False),
        Want("rose", "by-hand", ("rose.test",), False),
    ]
    (one,) = acme.wanted(wants)
    assert (one.secret, one.services) == ("tls", ("churn", "iris"))
    assert one.names == ("churn.test", "iris.test", "new.test")


def test_the_secret_is_named_after_environment_and_service_unless_it_is_said() -> None:
    text = """
run:
  hosts:
    staging: {names: [s.test], acme: true}
    production: {names: [p.test], acme: true, certificate: mine}
    local: {names: [l.test]}
"""
    run = parse_spec(text).run.naming_secrets("iris")
    assert [run.certificate(one) for one in ("staging", "production", "local", "none")] == [
        "staging-iris-tls", "mine", "", "",
    ]  # fmt: skip
    assert [run.fetched(one) for one in ("staging", "production", "local", "none")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_spec_without_acme_has_the_fingerprint_it_had_before_there_was_any() -> None:
    run = parse_spec("run: {hosts: {local: {names: [l.test]}}}").run
    assert run.naming_secrets("iris") is run
    assert "acme" not in run.model_dump_json()
    assert "acme" in ServiceSpec.model_json_schema()["$defs"]["Hosts"]["properties"]


def test_a_version_of_a_secret_cannot_be_renewed() -> None:
    with pytest.raises(BadInput) as caught:
        parse_spec("run: {hosts: {local: {names: [l.test], acme: true, certificate: tls/versions/3}}}")
    assert "always its secret's latest version" in caught.value.expected


def test_who_issues_is_said_in_the_environments_file(tmp_path: Path) -> None:
    file = tmp_path / "environments.yaml"
    file.write_text("environments: {production: {acme: {contact: ops@example.com}}}")
    assert parse(file)["production"].acme == Issuer(
        contact="ops@example.com", directory=LETS_ENCRYPT, port=80
    )


@pytest.mark.parametrize(
    ("said", "what", "expected"),
    [
        (
            "{mail: a@b.test}",
            "unknown key `environments.production.acme.mail`",
            "known here: contact, directory",
        ),
        (
            "{directori: x}",
            "unknown key `environments.production.acme.directori`",
            "did you mean `directory`?",
        ),
        ("{contact: nobody}", "`environments.production.acme.contact` is not right", "match pattern"),
        (
            "{directory: 'http://ca.test'}",
            "`environments.production.acme.directory` is not right",
            "match pattern",
        ),
        ("{port: 0}", "`environments.production.acme.port` is not right", "greater than or equal to 1"),
    ],
)
def test_what_is_wrong_there_is_named(tmp_path: Path, said: str, what: str, expected: str) -> None:
    file = tmp_path / "environments.yaml"
    file.write_text(f"environments: {{production: {{acme: {said}}}}}")
    with pytest.raises(BadInput) as caught:
        parse(file)
    assert caught.value.what == what
    assert expected in caught.value.expected


def test_an_edge_without_the_port_that_an_authority_asks_is_refused() -> None:
    assert place.challenge_port(80, [80, 8000]) == 80
    with pytest.raises(Refused, match="no plain port 80") as refused:
        place.challenge_port(80, [8000])
    assert refused.value.got == "8000"
    assert "acme: {port: …}" in refused.value.next_step


def test_the_account_stays_in_the_document_whoever_writes_a_service_into_it() -> None:
    part = ServiceDesired(generation=1, confirmed=release("iris", 80))
    assert Desired(acme="thumb").with_service("iris", part).acme == "thumb"
    text = fleet.document(fleet.answering("", "thumb"), "iris", part)
    assert fleet.parse(text).acme == "thumb"
    again = fleet.answering(json.dumps({**json.loads(text), "later": 1}), "other")
    assert json.loads(again) == {**json.loads(text), "later": 1, "acme": "other"}
