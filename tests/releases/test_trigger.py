"""Which push starts what."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from releases.trigger import Decision, Push, Rule, Watched, WatchedServices, decide

SHA, ZERO = "a" * 40, "0" * 40
IRIS = Watched(name="iris", repository="acme/models", path="iris")
ROSE = Watched(
    name="rose", repository="acme/models", path="rose", paths=("/shared/**/*.py", "!/shared/docs/**")
)
WHOLE = Watched(name="whole", repository="acme/whole")
RULES = (
    Rule("dev", "dev", (IRIS, ROSE, WHOLE)),
    Rule("production", "main", (IRIS, ROSE, WHOLE)),
    Rule("local", "", (IRIS, ROSE, WHOLE)),
)
PUSH = Push("acme/models", "refs/heads/main", SHA, False, False, False, (frozenset({"iris/app.py"}),))


def started(decision: Decision) -> list[str]:
    return [f"{one.service}@{one.environment}" for one in decision.starts]


@pytest.mark.parametrize(
    ("change", "starts"),
    [
        ({}, ["iris@production"]),
        ({"ref": "refs/heads/dev"}, ["iris@dev"]),
        ({"repository": "ACME/Models"}, ["iris@production"]),  # GitHub's names know no case
        ({"commits": (frozenset({"shared/a/b.py"}),)}, ["rose@production"]),
        ({"commits": (frozenset({"iris/a"}), frozenset({"rose/b"}))}, ["iris@production", "rose@production"]),
        ({"repository": "acme/whole", "commits": (frozenset({"any"}),)}, ["whole@production"]),
        ({"commits": ()}, ["iris@production", "rose@production"]),  # a merge, or an empty commit
        ({"commits": (frozenset(),)}, ["iris@production", "rose@production"]),
        ({"commits": (frozenset({"readme"}),), "forced": True}, ["iris@production", "rose@production"]),
        ({"commits": (frozenset({"readme"}),), "created": True}, ["iris@production", "rose@production"]),
        ({"commits": (frozenset({"readme"}),) * 20}, ["iris@production", "rose@production"]),
        ({"commits": (frozenset(str(n) for n in range(3000)),)}, ["iris@production", "rose@production"]),
    ],
)
def test_what_a_push_starts(change: dict[str, object], starts: list[str]) -> None:
    decision = decide(replace(PUSH, **change), RULES)
    assert started(decision) == starts
    assert {one.ref for one in decision.starts} == {SHA}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ref": "refs/tags/v1"}, "no environment releases the tag v1"),
        ({"ref": "refs/tags/v1", "after": ZERO, "deleted": True}, "the tag v1 was deleted"),
        ({"ref": "refs/notes/commits"}, "is no branch"),
        ({"ref": "refs/heads/main", "after": ZERO, "deleted": True}, "the branch main was deleted"),
        ({"ref": "refs/heads/main", "after": ZERO}, "the branch main was deleted"),
        ({"ref": "refs/heads/feature"}, "no environment releases from the branch feature"),
        ({"ref": "refs/heads/"}, "no environment releases from the branch"),
        ({"repository": "evil/models"}, "production releases from main, but watches nothing in evil/models"),
        ({"commits": (frozenset({"README.md"}),)}, "no file that iris, rose cares about"),
        ({"commits": (frozenset({"shared/docs/a.py"}),)}, "no file that iris, rose cares about"),
        ({"commits": (frozenset({"irises/app.py", "docs/iris/app.py"}),)}, "no file that iris, rose"),
    ],
)
def test_what_a_push_does_not_start_and_why(change: dict[str, object], reason: str) -> None:
    decision = decide(replace(PUSH, **change), RULES)
    assert decision.starts == ()
    assert reason in decision.ignored


TAGGED = (Rule("production", "", (IRIS, ROSE), "v*"), Rule("staging", "main", (IRIS,)))


@pytest.mark.parametrize(
    ("change", "starts", "reason"),
    [
        ({"ref": "refs/tags/v1.2"}, ["iris@production", "rose@production"], ""),
        (
            {"ref": "refs/tags/v1.2", "created": True, "commits": ()},
            ["iris@production", "rose@production"],
            "",
        ),
        ({"ref": "refs/tags/w1"}, [], "no environment releases the tag w1"),
        ({"ref": "refs/tags/v1", "deleted": True, "after": ZERO}, [], "the tag v1 was deleted"),
        ({"ref": "refs/tags/v1", "repository": "evil/models"}, [], "production releases tags like v1, but"),
        ({"ref": "refs/heads/v1"}, [], "no environment releases from the branch v1"),
    ],
)
def test_a_tag_releases_where_an_environment_asks_for_tags(
    change: dict[str, object], starts: list[str], reason: str
) -> None:
    decision = decide(replace(PUSH, **change), TAGGED)
    assert started(decision) == starts
    assert reason in decision.ignored
    assert {one.branch for one in decision.starts} <= {""}


def test_whoever_asks_for_a_commit_gets_the_same_run_but_a_push_back_gets_its_own() -> None:
    (plain,) = decide(PUSH, RULES).starts
    back = decide(replace(PUSH, forced=True), RULES).starts[0]
    assert plain.key("delivery 1") == plain.key("delivery 2")
    assert len({plain.key("1"), back.key("1"), back.key("2"), replace(plain, ref=ZERO).key("1")}) == 4
    elsewhere = [
        replace(plain, environment="dev"),
        replace(plain, service="rose"),
        replace(plain, ref="b" * 40),
    ]
    assert len({one.key("1") for one in [plain, *elsewhere]}) == 4


def test_each_tag_asks_once_for_its_commit_also_for_one_that_was_released_before() -> None:
    first, again = (
        decide(replace(PUSH, ref=f"refs/tags/{tag}"), TAGGED).starts[0] for tag in ("v1.0", "v1.2")
    )
    assert first.ref == again.ref
    assert first.key("1") == first.key("2")
    assert len({first.key("1"), again.key("1"), replace(first, tag="").key("1")}) == 3


@pytest.mark.parametrize(
    ("change", "unsure"),
    [
        ({}, False),
        ({"commits": (frozenset({"iris/a"}), frozenset())}, True),
        ({"commits": (frozenset({"readme"}),) * 20}, True),
        ({"commits": (), "forced": True}, False),
        ({"commits": (), "created": True}, False),
    ],
)
def test_a_run_finds_out_by_itself_what_a_push_does_not_say(change: dict[str, object], unsure: bool) -> None:
    assert {one.unsure for one in decide(replace(PUSH, **change), RULES).starts} == {unsure}


def test_where_code_comes_from_is_never_said_by_the_push() -> None:
    watched = IRIS.model_copy(update={"source": "ssh://git.example/acme/models"})
    decision = decide(PUSH, (Rule("production", "main", (watched, WHOLE)),))
    assert decision.starts[0].source == "ssh://git.example/acme/models"
    assert decide(PUSH, RULES).starts[0].source == "https://github.com/acme/models.git"


@pytest.mark.parametrize(
    "wrong", [{"repository": "acme"}, {"name": "Not This"}, {"pahts": []}, {"paths": "x"}]
)
def test_a_wrong_rule_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Watched.model_validate({"name": "iris", "repository": "acme/models", **wrong})


def test_two_services_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two services are called 'iris'"):
        TypeAdapter(WatchedServices).validate_python([IRIS, IRIS])


# --- whatever is pushed ---
FILES = st.frozensets(
    st.sampled_from(["iris/a", "rose/b", "shared/c.py", "shared/docs/d.py", "e", ""]), max_size=4
)
PUSHES = st.builds(
    Push,
    repository=st.sampled_from(["acme/models", "acme/whole", "else/where", ""]),
    ref=st.sampled_from(["refs/heads/main", "refs/heads/dev", "refs/tags/main", "refs/heads/", "main", ""])
    | st.text(max_size=20),
    after=st.sampled_from([SHA, ZERO, "b" * 64, "0" * 64]),
    created=st.booleans(),
    deleted=st.booleans(),
    forced=st.booleans(),
    commits=st.lists(FILES, max_size=25).map(tuple),
)


@given(PUSHES)
def test_a_push_starts_something_or_says_why_not(push: Push) -> None:
    decision = decide(push, RULES)
    assert bool(decision.starts) != bool(decision.ignored)


@given(PUSHES)
def test_only_a_living_branch_of_a_watched_repository_starts_and_each_service_once(push: Push) -> None:
    decision = decide(push, RULES)
    for one in decision.starts:
        assert push.ref == f"refs/heads/{one.branch}"
        assert one.branch
        assert one.ref == push.after != ZERO
        assert not push.deleted
        rule = next(rule for rule in RULES if rule.environment == one.environment)
        watched = next(service for service in rule.services if service.name == one.service)
        assert rule.branch == one.branch
        assert watched.repository == push.repository
        assert watched.address == one.source
    assert len(set(started(decision))) == len(decision.starts)


@given(PUSHES, FILES)
def test_touching_more_never_starts_less(push: Push, more: frozenset[str]) -> None:
    assert set(decide(push, RULES).starts) <= set(
        decide(replace(push, commits=(*push.commits, more)), RULES).starts
    )


@given(PUSHES)
def test_what_cannot_be_proved_untouched_counts_as_touched(push: Push) -> None:
    def touched(push: Push) -> set[tuple[str, str]]:
        return {(one.service, one.environment) for one in decide(push, RULES).starts}

    if push.created or push.forced or len(push.commits) >= 20 or frozenset() in push.commits:
        assert touched(push) == touched(replace(push, forced=True))
