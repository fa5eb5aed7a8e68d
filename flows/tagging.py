"""`release: auto`: what is live gets the next version, as a tag and a release on GitHub."""

from prefect import get_run_logger

from blocks.environment import Environment
from blocks.github import GitHub
from blocks.remote import files_of_commits, read_refs
from flows.github_feedback import connected_github
from releases.problem import Problem
from releases.release import Release
from releases.trigger import Watched
from releases.version import TAGS, following, newest, notes


def tag_version(where: Environment, release: Release) -> None:
    """Tag a live release's commit once, if its environment wants that; reconcile does what fails."""
    watched = where.watched(release.service)
    if where.release != "auto" or watched is None or release.dirty or release.restores:
        return
    log, github = get_run_logger(), connected_github()
    if github is None:
        log.warning("no version is tagged: GitHub is not connected; next: model-deploy github connect")
        return
    try:
        tags = read_refs(watched.address).tags
    except Problem as problem:
        log.warning("no version is tagged yet: %s", problem)
        return
    prefix = prefix_of(where, watched)
    if newest((tag for tag, commit in tags.items() if commit == release.revision), f"{prefix}{TAGS}"):
        return
    last = newest(tags, f"{prefix}{TAGS}")
    commits = new_commits(github, watched, tags[last], release.revision) if last else {}
    if commits is None:
        log.warning("no version is tagged yet: what is new since %s cannot be told", last)
        return
    version = following(last, list(commits.values()))
    if not version:
        return
    tag = f"{prefix}{version}"
    sent = github.publish(watched.repository, tag, release.revision, notes(commits, last))
    if sent.ok or sent.exists:  # somebody else was quicker
        log.info("%s is %s", release.revision[:8], tag)
    else:
        log.warning("%s is not tagged yet: %s", tag, sent.why)


def prefix_of(where: Environment, watched: Watched) -> str:
    """What stands before the version: as the environment's `tags` say, else the name of one of several."""
    said = where.tags.removesuffix(TAGS) if where.tags.endswith(TAGS) else ""
    if said:
        return said.replace("*", watched.name)
    neighbours = [one for one in where.services if one.repository.lower() == watched.repository.lower()]
    return f"{watched.name}-" if len(neighbours) > 1 else ""


def new_commits(github: GitHub, watched: Watched, old: str, new: str) -> dict[str, str] | None:
    """Commit → message, of those that touch the service; None where that cannot be told."""
    commits = github.commits(watched.repository, old, new)
    if not commits or not watched.is_part:
        return commits
    files = files_of_commits(watched.address, old, new)
    if files is None:
        return None
    return {one: said for one, said in commits.items() if watched.cares_about(files.get(one, frozenset()))}
