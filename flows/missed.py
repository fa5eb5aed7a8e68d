"""Whether the head of a branch, or the newest tag, was missed: what is known of it is asked for here."""

from dataclasses import dataclass, replace

from blocks.environment import Environment
from blocks.pushed_runs import read_attempts
from blocks.remote import Refs, changed_files, commits_between
from releases.ledger import Entry
from releases.reconcile import Ended, Known, Verdict, judge, last_tried
from releases.trigger import Rule, Watched
from releases.version import newest


@dataclass(frozen=True)
class Head:
    """A commit that is to be released: the newest of a branch, or what the newest tag names."""

    commit: str
    branch: str = ""
    tag: str = ""


def heads(rule: Rule, refs: Refs) -> list[Head]:
    """The branch's before the tag's."""
    found = []
    if rule.branch in refs.branches:
        found.append(Head(refs.branches[rule.branch], branch=rule.branch))
    tag = newest(refs.tags, rule.tags) if rule.tags else ""
    if tag:
        found.append(Head(refs.tags[tag], tag=tag))
    return found


def judge_head(where: Environment, watched: Watched, live: Entry | None, head: Head) -> Verdict:
    """Whether it is to be started. `after`: the run that it comes after, if the head had one of its own."""
    if live and live.release.revision == head.commit and not live.release.dirty:
        return Verdict(False, "live")
    known = known_of(where, watched.name, live, head.commit)
    attempts = known.attempts
    if where.rule.branch:  # what the branch has tried says nothing of the tag, nor the other way round
        known = replace(known, attempts=tuple(one for one in attempts if one.tag == head.tag))
    verdict = judge(head.commit, known)
    if not verdict.start:
        return verdict
    if not head.tag:
        return verdict if matters(watched, known, head.commit) else Verdict(False, "nothing it cares about")
    if where.rule.branch and live:
        if any(one.ended is Ended.going for one in attempts):
            return Verdict(False, "another release is waiting or going on")
        if not commits_between(watched.address, live.release.revision, head.commit):
            return Verdict(False, "what is live has everything that the tag names")  # it would lead back
    asked = any(one.tag == head.tag for one in attempts)  # else it has the key of the webhook's run
    return verdict if asked else replace(verdict, after="")


def known_of(where: Environment, service: str, live: Entry | None, commit: str) -> Known:
    """What was tried in the environment, and when somebody has released the commit without a push."""
    by_hand = (
        entry.release.created
        for entry in where.ledger(service).newest_first()
        if entry.release.revision == commit and entry.release.restores is None
    )
    return Known(
        live=live.release.revision if live and not live.release.dirty else "",
        attempts=read_attempts(service, where.name),
        by_hand=next(by_hand, None),
    )


def matters(watched: Watched, known: Known, commit: str) -> bool:
    """Whether a file of the service differs from what was released last; so where that cannot be told."""
    last = last_tried(known)
    if not last or last == commit:
        return True
    files = changed_files(watched.address, last, commit)
    return files is None or watched.cares_about(files)
