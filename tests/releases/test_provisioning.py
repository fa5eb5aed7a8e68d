"""Plans: pure, in order, empty once applied, one difference for each thing that drifts."""

import copy
import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from releases.provisioning.described import CloudEnvironment
from releases.provisioning.gcloud import commands, script
from releases.provisioning.refusal import missing_permission, refusal
from releases.provisioning.resources import wanted
from releases.provisioning.rights import Grant
from releases.provisioning.seen import grants, seen, seen_rights
from releases.provisioning.show import lines
from releases.provisioning.wanted import Action, Json, Key, Kind, Plan, Wanted, plan

NUMBER = "888887139447"
SECTION: dict[str, Any] = {
    "name": "staging",
    "project": "acme-models",
    "zone": "europe-west1-b",
    "ports": [443],
    "sources": ["10.0.0.0/8"],
    "secrets": ["database"],
    "github": ["acme/models"],
    "machines": {
        "count": 2,
        "agent_image": "registry/agent@sha256:1",
        "edge_image": "registry/edge@sha256:2",
    },
}
CLOUD = CloudEnvironment.model_validate(SECTION)
descriptions = st.builds(
    lambda **changes: CloudEnvironment.model_validate({**SECTION, **changes}),
    name=st.sampled_from(["dev", "staging", "production"]),
    ports=st.lists(st.integers(1, 65535), min_size=1, max_size=4),
    sources=st.lists(st.sampled_from(["10.0.0.0/8", "0.0.0.0/0", "35.191.0.0/16"]), min_size=1),
    secrets=st.lists(st.sampled_from(["a", "b-c", "D_e"]), unique=True),
    github=st.lists(st.sampled_from(["acme/models", "acme/other"]), unique=True),
    machines=st.builds(
        lambda count, external, group: {
            **SECTION["machines"],
            "count": count,
            "external_ip": external,
            "group": group,
        },
        st.integers(0, 3),
        st.booleans(),
        st.booleans(),
    ),
)


def applied(made: Plan, found: dict[Key, Json | None]) -> dict[Key, Json | None]:
    """What is there after a plan was applied."""
    return {**found, **{one.key: copy.deepcopy(one.wanted.body) for one in made.todo}}


def everything(cloud: CloudEnvironment = CLOUD) -> dict[Key, Wanted]:
    return {one.key: one for one in wanted(cloud, NUMBER)}


@given(descriptions, st.data())
def test_what_was_applied_needs_no_plan(cloud: CloudEnvironment, data: st.DataObject) -> None:
    shall = everything(cloud)
    there = data.draw(st.sets(st.sampled_from(sorted(shall))))
    found: dict[Key, Json | None] = {key: shall[key].body for key in there}
    made = plan(shall.values(), found)
    missing = {key for key in set(shall) - there if not shall[key].theirs}
    assert {one.key for one in made.todo} == missing
    again = plan(shall.values(), applied(made, found))
    assert not again.todo
    assert plan(reversed(list(shall.values())), found).name == made.name


@given(descriptions)
def test_nothing_comes_before_what_it_builds_on(cloud: CloudEnvironment) -> None:
    order = [one.key for one in plan(everything(cloud).values(), {}).changes]
    assert order == sorted(order)
    place = {key: number for number, key in enumerate(order)}
    rights = [key for key in order if key.kind is Kind.rights]
    accounts = [key for key in order if key.kind is Kind.account]
    vms = [key for key in order if key.kind is Kind.vm]
    assert all(place[one] < place[other] for one in accounts for other in rights)
    assert all(place[one] < place[other] for one in rights for other in vms)
    kinds = {"bucket": Kind.bucket, "secret": Kind.secret, "repository": Kind.repository}
    for key in rights:
        kind, _, name = key.name.partition(" ")
        if kind in kinds:
            assert place[Key(kinds[kind], name)] < place[key]


def leaves(body: Json, under: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in body.items():
        yield from leaves(value, (*under, name)) if isinstance(value, dict) and value else [(*under, name)]


@given(st.data())
def test_each_thing_that_drifts_is_one_difference(data: st.DataObject) -> None:
    shall = everything()
    key = data.draw(st.sampled_from([key for key in sorted(shall) if key.kind is not Kind.rights]))
    path = data.draw(st.sampled_from(list(leaves(shall[key].body))))
    found: dict[Key, Json | None] = {one: copy.deepcopy(value.body) for one, value in shall.items()}
    inner: Any = found[key]
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = "drifted"
    made = plan(shall.values(), found)
    (changed,) = [one for one in made.changes if one.action is not Action.unchanged]
    (difference,) = changed.fields + changed.by_hand
    assert (changed.key, difference.path, difference.now) == (key, ".".join(path), "drifted")
    assert bool(changed.by_hand) == any(difference.path.startswith(one) for one in shall[key].fixed)
    assert any(difference.path in line for line in lines(made))
    at_the_next_boot = any("boots into it the next time" in line for line in lines(made))
    assert at_the_next_boot == (path[-1] == "user-data")


def test_what_others_say_of_a_resource_is_theirs() -> None:
    key = Key(Kind.vm, "staging-node-1")
    shall = everything()[key]
    theirs = copy.deepcopy(shall.body)
    theirs["metadata"]["model-deploy"] = "{}"
    theirs["labels"]["team"] = "red"
    assert plan([shall], {key: theirs}).changes[0].action is Action.unchanged


def test_a_grant_too_many_has_to_go() -> None:
    key = Key(Kind.rights, f"bucket {CLOUD.models_bucket}")
    shall = everything()[key]
    surplus = Grant("roles/storage.admin", f"serviceAccount:{CLOUD.node}")
    policy = {
        "bindings": [
            *(
                {"role": one["role"], "members": [one["member"]]}
                for one in shall.body.values()
                if not one["prefix"]
            ),
            {"role": surplus.role, "members": [surplus.member, "group:owners@acme.com"]},
        ]
    }
    (change,) = plan([shall], {key: seen_rights(CLOUD, policy)}).changes
    assert [one.path for one in change.fields if one.then is None] == [str(surplus)]
    assert len([one for one in change.fields if one.now is None]) == 1
    remove = [str(one) for one in commands(CLOUD, change) if "remove-iam-policy-binding" in one.argv]
    assert len(remove) == 1
    assert "roles/storage.admin" in remove[0]


@given(
    st.sets(
        st.builds(
            Grant,
            st.sampled_from(["roles/a", "roles/b"]),
            st.sampled_from(["user:a", "user:b"]),
            st.sampled_from(["", "projects/_/buckets/x/objects/logs/"]),
        )
    )
)
def test_grants_go_through_a_policy_and_back(given_: set[Grant]) -> None:
    bindings = [
        {"role": one.role, "members": [one.member], **({"condition": one.condition} if one.prefix else {})}
        for one in given_
    ]
    assert set(grants({"bindings": bindings})) == given_


def test_a_locked_retention_that_is_longer_protects_as_well() -> None:
    shall = everything()[Key(Kind.bucket, CLOUD.models_bucket)]
    longer = {"retentionPeriod": str(1000 * 24 * 3600)}
    for locked, action in ((True, Action.unchanged), (False, Action.change)):
        found = seen(shall, {**shall.body, "retentionPolicy": {**longer, "isLocked": locked}})
        assert plan([shall], {shall.key: found}).changes[0].action is action


def test_a_plan_approves_nothing_but_itself() -> None:
    shall = list(everything().values())
    made, other = plan(shall, {}), plan(shall[1:], {})
    assert made.name != other.name
    more = everything(CLOUD.model_copy(update={"ports": (80, 443)}))
    assert plan(more.values(), {}).name != made.name


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"zone": "europe-west1"}, "zone"),
        ({"ports": []}, "ports"),
        ({"sources": ["everybody"]}, "sources"),
        ({"sources": []}, "sources"),
        ({"surprise": 1}, "surprise"),
        ({"name": "a-name-that-is-too-long-for-an-account"}, "name"),
        ({"machines": {"count": 1}}, "agent_image"),
        ({"keep": {"logs": 10}}, "logs"),
    ],
)
def test_a_wrong_description_names_the_field(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        CloudEnvironment.model_validate({**SECTION, **changes})


def test_gcloud_says_the_same() -> None:
    shall = everything()
    made = {
        one.key: [str(command) for command in commands(CLOUD, one)]
        for one in plan(shall.values(), {}).changes
    }
    assert made[Key(Kind.api, "compute.googleapis.com")] == [
        "gcloud services enable compute.googleapis.com --quiet --project=acme-models"
    ]
    models = made[Key(Kind.bucket, "acme-models-staging-models")]
    assert models[0] == (
        "gcloud storage buckets create gs://acme-models-staging-models --location=EUROPE-WEST1"
        " --default-storage-class=STANDARD --uniform-bucket-level-access --public-access-prevention"
        " --soft-delete-duration=2592000s --retention-period=7776000s"
        " --lifecycle-file=acme-models-staging-models-lifecycle.json --quiet --project=acme-models"
    )
    node = "serviceAccount:staging-node@acme-models.iam.gserviceaccount.com"
    assert (
        "gcloud storage buckets add-iam-policy-binding gs://acme-models-staging-data"
        f" --member={node} --role=roles/storage.objectCreator"
        " '--condition=expression=resource.name.startsWith("
        '"projects/_/buckets/acme-models-staging-data/objects/logs/"),title=only logs/\''
        " --quiet --project=acme-models"
    ) in made[Key(Kind.rights, "bucket acme-models-staging-data")]
    assert made[Key(Kind.firewall, "staging-services")] == [
        (
            "gcloud compute firewall-rules create staging-services --network=default --direction=INGRESS"
            " --allow=tcp:443 --source-ranges=10.0.0.0/8"
            " --target-service-accounts=staging-node@acme-models.iam.gserviceaccount.com --priority=1000"
            " '--description=The public ports of the services, and nothing else' --quiet --project=acme-models"
        )
    ]


@given(descriptions, st.data())
def test_every_change_has_its_commands(cloud: CloudEnvironment, data: st.DataObject) -> None:
    shall = everything(cloud)
    empty = data.draw(st.sets(st.sampled_from(sorted(shall))))
    found: dict[Key, Json | None] = {key: ({} if key in empty else shall[key].body) for key in shall}
    for one in plan(shall.values(), found).todo:
        for command in commands(cloud, one):
            words = shlex.split(str(command))
            assert words == list(command.argv)
            assert words[0] == "gcloud"
            assert words[-1] == f"--project={cloud.project}"
        assert list(commands(cloud, one))


def test_the_script_holds_the_files_that_it_needs() -> None:
    text = "\n".join(script(CLOUD, plan(everything().values(), {})))
    assert text.count("cloud-init.yaml") == 4  # two VMs: written and read
    cleanup = next(line for line in text.splitlines() if line.endswith("model-deploy-cleanup.json"))
    policies = json.loads(shlex.split(cleanup)[2])
    kept = next(one for one in policies if one["name"] == "keep-released")
    assert (kept["action"], kept["condition"]["tagPrefixes"]) == ({"type": "KEEP"}, ["release-"])


FORBIDDEN = "a@b does not have storage.buckets.create access to projects/p."


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (403, {"message": FORBIDDEN, "errors": [{"reason": "forbidden"}]}, "--role=roles/storage.admin"),
        (403, {"message": "Permission 'iam.roles.get' denied"}, "--role=roles/iam.roleAdmin"),
        (
            403,
            {"message": "denied", "details": [{"reason": "X", "metadata": {"permission": "compute.firewalls.create"}}]},
            "--role=roles/compute.securityAdmin",
        ),
        (
            403,
            {"message": "Secret Manager API has not been used: enable secretmanager.googleapis.com",
             "details": [{"reason": "SERVICE_DISABLED"}]},
            "gcloud services enable secretmanager.googleapis.com",
        ),
        (403, {"message": "Quota 'CPUS' exceeded.", "errors": [{"reason": "quotaExceeded"}]}, "quota"),
        (429, {"message": "slow down"}, "does not answer"),
        (401, {"message": "who"}, "gcloud auth application-default login"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_type(status: int, error: Json, says: str) -> None:
    assert says in str(refusal("create bucket x", "p", "a@b", status, error))


def test_the_caller_s_own_name_is_no_permission() -> None:
    said = "a@b.iam.gserviceaccount.com does not have logging.logEntries.list access"
    assert missing_permission({"message": said}) == "logging.logEntries.list"


def test_how_long_logs_are_kept_is_the_data_bucket_s_lifecycle_and_never_the_models_one() -> None:
    kept = CloudEnvironment.model_validate({**SECTION, "keep": {"logs_warm": 7, "logs": 90}})
    before, after = everything(), everything(kept)
    changes = plan(after.values(), {key: one.body for key, one in before.items()}).todo
    (change,) = changes
    assert change.key == Key(Kind.bucket, kept.data_bucket)
    rules = after[change.key].body["lifecycle"]["rule"]
    logs = {
        one["action"]["type"]: one["condition"]["age"] for one in rules if "matchesPrefix" in one["condition"]
    }
    assert logs == {"SetStorageClass": 7, "Delete": 90}
    models = after[Key(Kind.bucket, kept.models_bucket)].body["lifecycle"]["rule"]
    assert [one["action"]["type"] for one in models] == ["AbortIncompleteMultipartUpload"]
