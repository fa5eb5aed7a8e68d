"""`release: auto`: what is live gets the next version, as a tag and a release on GitHub."""

from http import HTTPStatus

from prefect import get_run_logger

from blocks.environment import Environment
from blocks.remote import read_refs
from flows.github_feedback import connected_github
from releases.problem import Problem
from releases.release import Release
from releases.version import following, newest, notes, read_version


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
    if any(read_version(tag) for tag, commit in tags.items() if commit == release.revision):
        return
    last = newest(tags)
    commits = github.commits(watched.repository, tags[last], release.revision) if last else {}
    if commits is None:
        log.warning("no version is tagged yet: GitHub does not say what is new since %s", last)
        return
    tag = following(last, list(commits.values()))
    if not tag:
        return
    sent = github.publish(watched.repository, tag, release.revision, notes(commits, last))
    if sent.ok or sent.status == HTTPStatus.UNPROCESSABLE_ENTITY:  # somebody else was quicker
        log.info("%s is %s", release.revision[:8], tag)
    else:
        log.warning("%s is not tagged yet: %s", tag, sent.why)
