"""Every VM's edge answers for the ACME account, on the sandbox with simulated agents."""

import json
import threading
from collections.abc import Sequence

import pytest

from blocks.edge import no_challenge
from blocks.targets.container_declaration import ContainerDeclaration
from blocks.targets.node import Node
from releases import fleet
from releases.problem import Problem, Refused
from tests.blocks.targets.conftest import Vms
from tests.blocks.targets.test_managed_group import group
from tests.blocks.targets.test_managed_group import target as group_target
from tests.sandbox.conftest import ZONE, eventually


def silent(urls: Sequence[str], account: str) -> dict[str, str]:
    """Where the account's challenges are not answered, and why."""
    return {url: why for url in urls if (why := no_challenge(url, "token", account))}


def test_every_vm_answers_and_what_else_is_in_its_document_stays(vms: Vms) -> None:
    vms.add("a", "b", "c")
    target, port = vms.target(max_unavailable=2), vms.agents.port
    vms.edit("c", theirs="kept")
    urls = target.answer_challenges("first", port)
    assert len(urls) == 3
    eventually(lambda: not silent(urls, "first"))
    assert len(silent(urls, "second")) == 3
    vms.confirmed(target, 1)
    assert set(vms.live().values()) == {"1"}
    assert not silent(urls, "first"), "a release keeps it"
    before = [vms.metadata_of(name) for name in vms.names]
    vms.target().answer_challenges("first", port)
    target.desired("iris")
    assert [vms.metadata_of(name) for name in vms.names] == before

    vms.add("d")  # within what a reading of the fleet is good for
    urls = target.answer_challenges("first", port)
    assert len(urls) == 4
    eventually(lambda: not silent(urls, "first"))
    target.answer_challenges("second", port)
    eventually(lambda: not silent(urls, "second"))
    assert set(vms.live().values()) == {"1", ""}, "and the services are as they were"
    assert vms.metadata_of("c")["theirs"] == "kept"


def test_a_writer_in_between_loses_nothing_and_keeps_nobody_from_it(vms: Vms) -> None:
    vms.add("a")
    target, port = vms.target(), vms.agents.port
    find = target._find

    def account() -> str:
        return fleet.parse(vms.metadata_of("a")["model-deploy"]).acme

    def read_then_edited() -> list[Node]:
        found = find()
        vms.edit("a", **{"model-deploy": json.dumps({"format": 1, "services": {"other": {"generation": 7}}})})
        return found

    object.__setattr__(target, "_find", read_then_edited)
    target.answer_challenges("account", port)
    eventually(lambda: account() == "account")
    assert fleet.parse(vms.metadata_of("a")["model-deploy"]).of("other").generation == 7

    stop = threading.Event()

    def edit() -> None:
        edits = 0
        while not stop.wait(0.01):
            edits += 1
            vms.edit("a", theirs=str(edits))

    thread = threading.Thread(target=edit)
    thread.start()
    try:
        vms.target().answer_challenges("another", port)
    finally:
        stop.set()
        thread.join(10)
    eventually(lambda: account() == "another")


def test_a_vm_that_joins_a_group_answers_at_once(vms: Vms) -> None:
    made = group(vms, 2)
    target, port = group_target(vms), vms.agents.port
    urls = target.answer_challenges("account", port)
    eventually(lambda: not silent(urls, "account"))
    vms.confirmed(target, 1)
    assert made.effective()
    vms.cloud.done(made.client.resize_unary(**made.it, size=3))
    eventually(lambda: made.stable() and len(made.names()) == 3)
    grown = group_target(vms).urls(port)
    assert len(grown) == 3
    eventually(lambda: not silent(grown, "account"))


def test_who_cannot_answer_says_so(vms: Vms) -> None:
    vms.add("a")
    with pytest.raises(Refused, match="no plain port 80"):
        vms.target().answer_challenges("account", 80)
    declared = ContainerDeclaration(project=vms.cloud.project, zones=[ZONE])
    with pytest.raises(Refused, match="no edge that could answer"):
        declared.answer_challenges("account", 80)
    vms.cloud.fault("forbidden", path="*/a/setMetadata", count=1)
    with pytest.raises(Problem, match="may not"):
        vms.target().answer_challenges("account", vms.agents.port)
