"""Entries are taken in whole, listed by time and page by page, and what the sandbox cannot do it says."""

from typing import Any

import pytest

from tests.sandbox.conftest import Cloud

LOG = "projects/sandbox/logs/cos_containers"
VM = {"type": "gce_instance", "labels": {"instance_id": "1"}}


def write(cloud: Cloud, *entries: dict[str, Any], **shared: Any) -> int:
    body = {"logName": LOG, "resource": VM, "entries": [*entries], **shared}
    return cloud.call("POST", "/v2/entries:write", json=body).status_code


def entry(minute: int, insert: str = "a", **more: Any) -> dict[str, Any]:
    return {"timestamp": f"2026-11-24T10:{minute:02d}:00Z", "insertId": insert, "textPayload": "x", **more}


def listed(cloud: Cloud, matching: str = "", size: int = 1000) -> list[dict[str, Any]]:
    found, token = [], ""
    while True:
        body = {"resourceNames": ["projects/sandbox"], "filter": matching, "pageSize": size}
        answer = cloud.call(
            "POST", "/v2/entries:list", json={**body, **({"pageToken": token} if token else {})}
        )
        assert answer.status_code == 200, answer.text
        found += answer.json().get("entries", [])
        token = answer.json().get("nextPageToken", "")
        if not token:
            return found


def test_pages_are_in_order_and_what_comes_twice_or_meanwhile_is_there_once(cloud: Cloud) -> None:
    assert write(cloud, *(entry(minute, insert) for minute in (30, 10, 20) for insert in "ba")) == 200
    assert write(cloud, entry(10, "a"), entry(10, "c")) == 200
    whole = [(one["timestamp"][14:16], one["insertId"]) for one in listed(cloud)]
    assert whole == [
        ("10", "a"),
        ("10", "b"),
        ("10", "c"),
        ("20", "a"),
        ("20", "b"),
        ("30", "a"),
        ("30", "b"),
    ]
    for size in (1, 2, 7):
        assert listed(cloud, size=size) == listed(cloud)


@pytest.mark.parametrize(
    ("matching", "minutes"),
    [
        ('timestamp>="2026-11-24T10:20:00Z"', [20, 30]),
        ('timestamp<"2026-11-24T10:20:00.000000001Z"', [10, 20]),
        ('jsonPayload."cos.googleapis.com/container_name"=~"^klt-[a-z]+$"', [20]),
        ('NOT jsonPayload."cos.googleapis.com/container_name":klt', [10, 30]),
        ("severity=error severity=ERROR", [30]),
        # OR before AND
        (f'severity=ERROR OR logName="{LOG}" AND timestamp<"2026-11-24T10:15:00Z"', [10]),
        (f'(severity=ERROR) OR (logName="{LOG}" AND timestamp<"2026-11-24T10:15:00Z")', [10, 30]),
        ('receiveTimestamp<"2026-11-24T10:00:00Z"', []),
    ],
)
def test_filters(cloud: Cloud, matching: str, minutes: list[int]) -> None:
    name = {"jsonPayload": {"cos.googleapis.com/container_name": "klt-iris"}}
    named = {key: value for key, value in entry(20).items() if key != "textPayload"} | name
    write(cloud, entry(10), named, entry(30, severity="ERROR"))
    assert [int(one["timestamp"][14:16]) for one in listed(cloud, matching)] == minutes


def test_what_is_wrong_or_not_done_here_is_said(cloud: Cloud) -> None:
    def answer(**body: Any) -> int:
        asked = {"resourceNames": ["projects/sandbox"], **body}
        return cloud.call("POST", "/v2/entries:list", json=asked).status_code

    write(cloud, entry(1), entry(2))
    token = cloud.call(
        "POST", "/v2/entries:list", json={"resourceNames": ["projects/sandbox"], "pageSize": 1}
    ).json()["nextPageToken"]
    assert answer(pageToken=token) == 200
    assert answer(pageToken=token, filter="severity=ERROR") == 400
    assert answer(filter="timestamp>=") == 400
    assert answer(filter='log_id("x")') == 501
    assert answer(orderBy="timestamp desc") == 501
    assert answer(resourceNames=[]) == 400
    assert write(cloud, entry(1), dryRun=True) == 501
    assert write(cloud, {**entry(1), "logName": "nothing"}) == 400
    assert write(cloud, {**entry(3), "textPayload": "x" * 300_000}) == 400
    assert len(listed(cloud)) == 2


def test_only_who_may_reads_and_writes(cloud: Cloud) -> None:
    stranger = {"Authorization": f"Bearer {cloud.token('serviceAccount:a@b.iam.gserviceaccount.com')}"}
    for path, body in (
        ("list", {"resourceNames": ["projects/sandbox"]}),
        ("write", {"logName": LOG, "resource": VM, "entries": [entry(1)]}),
    ):
        answer = cloud.call("POST", f"/v2/entries:{path}", json=body, headers=stranger)
        assert answer.status_code == 403
