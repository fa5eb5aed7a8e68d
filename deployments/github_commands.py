"""`model-deploy github …`: connect a repository, receive its pushes."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from deployments.connection import connected
from releases.problem import BadInput, Failed, Problem, Refused, Unreachable

if TYPE_CHECKING:
    from blocks.github import GitHub, Sent

BLOCK = "github"
HOOK_PATH = "/webhooks/github"
REFUSED = (401, 403, 404)

github_app = typer.Typer(help="Release what is pushed to GitHub.", no_args_is_help=True)


@github_app.command()
def connect(
    repository: Annotated[str, typer.Argument(help="OWNER/REPO.")],
    url: Annotated[
        str, typer.Option(help="Where GitHub reaches the receiver, for example https://deploy.acme.com.")
    ],
    new_secret: Annotated[
        bool, typer.Option(help="Make a new secret; the one before it is still accepted.")
    ] = False,
    token: Annotated[
        str, typer.Option(envvar="GITHUB_TOKEN", show_envvar=True, help="Kept in Prefect once given.")
    ] = "",
    api: Annotated[str, typer.Option(help="GitHub Enterprise's API.")] = "",
) -> None:
    """Create the repository's webhook, or renew it."""
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise BadInput("this is no repository", expected="OWNER/REPO", got=repository)
    if not url.startswith("https://"):
        raise BadInput("GitHub must reach the receiver over TLS", expected="--url https://…", got=url)
    with connected(quiet=True):
        before = _known()
        wanted = _wanted(before, token, api, new_secret=new_secret)
        address = url.rstrip("/") + HOOK_PATH
        sent = _hooked(before, wanted, repository, address)
        if not sent.ok:
            raise _problem(repository, sent)
        typer.echo(f"{repository} tells {address} about pushes")
        if not _is_watched(repository):
            typer.echo(
                f"no environment watches {repository} yet; next: name it under `services` in the"
                " environments' file, then model-deploy apply"
            )


@github_app.command()
def listen(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 4280,
) -> None:
    """Receive pushes until stopped. GitHub reaches it through your own TLS proxy or load balancer."""
    # Beside the server, like the workers: one that it started would take the port of the one that comes up.
    with connected(quiet=True, start=False):
        from deployments.webhook.serve import serve  # noqa: PLC0415 - imports Prefect

        serve(host, port)


def _known() -> "GitHub | None":
    from blocks.github import GitHub  # noqa: PLC0415

    try:
        known: Any = GitHub.load(BLOCK)
    except ValueError:
        return None
    return cast("GitHub", known)


def _wanted(before: "GitHub | None", token: str, api: str, *, new_secret: bool) -> "GitHub":
    """The block with what was given, and a secret in any case."""
    import secrets  # noqa: PLC0415

    from pydantic import SecretStr  # noqa: PLC0415

    from blocks.github import GitHub  # noqa: PLC0415

    if before is None and not token:
        raise BadInput(
            "GitHub is not known yet",
            expected="a token that may write webhooks, commit statuses and deployments",
            next_step="GITHUB_TOKEN=… model-deploy github connect …",
        )
    github: GitHub = before.model_copy() if before else GitHub(token=SecretStr(token))
    if token:
        github.token = SecretStr(token)
    if api:
        github.api = api.rstrip("/")
    if new_secret or github.webhook_secret is None:
        github.former_webhook_secret = github.webhook_secret
        github.webhook_secret = SecretStr(secrets.token_urlsafe(32))
    return github


def _hooked(before: "GitHub | None", wanted: "GitHub", repository: str, address: str) -> "Sent":
    """Have GitHub sign as wanted; only what it has taken takes the place of what was kept before."""
    secret = wanted.webhook_secret
    # Before GitHub has it: a delivery signed with it must find it known. The one that the other repositories
    # are signed with stays in its place: the same command again then never pushes it out.
    if before is None:
        wanted.save(BLOCK, overwrite=True)
    elif secret != before.webhook_secret:
        before.model_copy(update={"former_webhook_secret": secret}).save(BLOCK, overwrite=True)
    sent = wanted.save_hook(repository, address, secret.get_secret_value() if secret else "")
    if sent.ok:
        wanted.save(BLOCK, overwrite=True)
    elif before and HTTPStatus.BAD_REQUEST <= sent.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        before.save(BLOCK, overwrite=True)
    return sent


def _problem(repository: str, sent: "Sent") -> Problem:
    if sent.status in REFUSED:
        return Refused(
            f"GitHub does not let us change the webhooks of {repository}",
            expected="a token for this repository with the permission Webhooks: read and write",
            got=sent.why,
        )
    if sent.status and sent.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Failed(f"GitHub does not take the webhook of {repository}", got=sent.why)
    return Unreachable("GitHub does not answer", got=sent.why, next_step="the same command again, later")


def _is_watched(repository: str) -> bool:
    from blocks.pick_lists import known_environments  # noqa: PLC0415

    watched = [one.repository.lower() for each in known_environments().values() for one in each.services]
    return repository.lower() in watched
