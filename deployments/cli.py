"""`model-deploy`: the command line. Heavy imports stay inside the commands: `--help` answers at once."""

import atexit
import gc
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deployments.adopt_commands import adopt
from deployments.approval_commands import approve, pending, promote, reject
from deployments.certificate_commands import certificates
from deployments.connection import connected, load, service_here
from deployments.data_commands import collect, report
from deployments.ending import end_with
from deployments.github_commands import github_app
from deployments.job_summary import job_summary
from deployments.model_commands import model_app
from deployments.provision_commands import provision, show_protections
from deployments.reconcile_command import reconcile
from deployments.release_result import show_result
from flows.ctrl_c import ctrl_c_cancels
from releases.problem import BadInput

EXIT_CODES = """Exit codes: 0 done; 1 failed, and taken back where anything was live; 2 bad input;
3 refused or superseded; 4 something needed does not answer; 130 cancelled."""

app = typer.Typer(
    help=f"Release a model service, and take it back when it misbehaves.\n\n{EXIT_CODES}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich help is twice as slow to answer
    add_completion=False,
)
app.add_typer(github_app, name="github")
app.command()(reconcile)
app.add_typer(model_app, name="model")
for command in (collect, report, certificates, provision, adopt, promote, pending, approve, reject):
    app.command()(command)
InEnvironment = Annotated[str, typer.Option("--environment", "-e", help="Which environment.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
OfService = Annotated[str, typer.Argument(help="Service; this folder's if not given.")]


def main() -> None:
    """Run a command; a mistake or failure is told without a traceback."""
    # What is imported stays. To look for garbage in it takes 0.1 s now, half a second at the end.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    end_with(app)


@app.command()
def release(
    source: Annotated[str, typer.Argument(help="Repository: a path or a git URL.")] = ".",
    ref: Annotated[str, typer.Option(help="Branch, tag or commit.")] = "HEAD",
    path: Annotated[str, typer.Option(help="The service's folder in the repository.")] = "",
    environment: InEnvironment = "local",
    rebuild: Annotated[bool, typer.Option(help="Build even if these sources were built before.")] = False,
    model: Annotated[
        str, typer.Option(help="NAME=VERSION of a published model; the spec's if not given.")
    ] = "",
    override_freeze: Annotated[str, typer.Option(help="Why it may go out in a freeze window.")] = "",
    as_json: AsJson = False,
) -> None:
    """Test, build, push, deploy, smoke-test, confirm."""
    from blocks.git import check_no_credentials  # noqa: PLC0415

    check_no_credentials(source)
    if Path(source).exists():
        source = str(Path(source).absolute())
    with ctrl_c_cancels(), job_summary() as summary, connected(quiet=as_json):
        from flows.release import release as flow  # noqa: PLC0415 - imports Prefect

        result = flow(
            source=source,
            ref=ref,
            path=path,
            environment=environment,
            rebuild=rebuild,
            model=model,
            override_freeze=override_freeze,
        )
        summary.released(result)
    show_result(result, as_json=as_json)


@app.command()
def rollback(
    service: OfService = "",
    to: Annotated[str, typer.Option(help="Release number or version; the last good one if not given.")] = "",
    environment: InEnvironment = "local",
    as_json: AsJson = False,
) -> None:
    """Bring back an earlier release."""
    with ctrl_c_cancels(), connected(quiet=as_json):
        from flows.rollback import rollback as flow  # noqa: PLC0415 - imports Prefect

        result = flow(service=service_here(service), to=to, environment=environment)
    show_result(result, as_json=as_json)


@app.command()
def status(
    service: Annotated[str, typer.Argument(help="Service; all if not given.")] = "",
    environment: InEnvironment = "local",
    as_json: AsJson = False,
) -> None:
    """What is live, what is on trial, and what was reverted and why."""
    with connected(quiet=True):
        target = load(environment).target
        nodes = target.nodes()
    running = sorted({name for node in nodes for name in node.services})
    names = [name for name in running if service in {"", name}]
    if as_json:
        whole = {name: target.status(name) for name in names}
        typer.echo(json.dumps({name: one.model_dump(mode="json") for name, one in whole.items()}))
        return
    for node in nodes:
        at = f" on {node.node}" if len(nodes) > 1 else ""
        if node.problem:
            typer.echo(f"the node{at} says: {node.problem}")
        if node.logs_problem:
            typer.echo(f"the node{at} keeps log lines to itself: {node.logs_problem}")
        for name, one in node.services.items():
            if name not in names:
                continue
            live = f"release {one.live} live" if one.live else "nothing live"
            trial = f", release {one.candidate} on trial ({one.phase})" if one.candidate else ""
            why = f"; last trial failed: {one.failure.reason}" if one.failure else ""
            where = target.url(one.public_port, next(iter(one.hosts), "")) if one.public_port else "no port"
            typer.echo(f"{name}{at}: {live} at {where}{trial}{why}")
            if one.certificate:
                typer.echo(f"  {one.certificate}")
    if not running:
        typer.echo("no service runs here yet; next: model-deploy release")
    elif not names:
        typer.echo(f"{service} does not run here; what does: {', '.join(running)}")


@app.command()
def history(service: OfService = "", environment: InEnvironment = "local", as_json: AsJson = False) -> None:
    """Every release and how it ended, newest first."""
    with connected(quiet=True):
        entries = load(environment).ledger(service_here(service)).entries()
    if as_json:
        rows = [
            {
                "release": entry.release.model_dump(mode="json"),
                "outcome": entry.outcome.model_dump(mode="json") if entry.outcome else None,
            }
            for entry in entries
        ]
        typer.echo(json.dumps(rows))
        return
    for entry in entries:
        one, outcome = entry.release, entry.outcome
        restores = f" restores {one.restores}" if one.restores else ""
        ended = (
            f"{outcome.verdict} {outcome.reason.splitlines()[0] if outcome.reason else ''}"
            if outcome
            else "open"
        )
        when = f"{one.created:%Y-%m-%d %H:%M}{restores}{f'  {one.model}' if one.model else ''}"
        typer.echo(f"{one.number:>4}  {one.version:<16} {one.digest[:19]}  {when}  {ended}")


@app.command()
def logs(
    service: OfService = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing.")] = False,
    since: Annotated[str, typer.Option(help="Stored lines too: since 2h, 1d, 2026-11-24T10:00.")] = "",
    grep: Annotated[str, typer.Option(help="Stored lines too; only those with this text.")] = "",
    environment: InEnvironment = "local",
) -> None:
    """What the service's containers print."""
    from deployments.log_commands import print_newest, print_stream  # noqa: PLC0415

    with connected(quiet=True):
        where, name = load(environment), service_here(service)
        if since or grep:
            print_stream(where, name, since, grep, follow=follow)
        else:
            print_newest(where, name, follow=follow)


@app.command()
def apply(
    file: Annotated[
        Path | None, typer.Argument(help="The environments' file; the one applied last if not given.")
    ] = None,
) -> None:
    """Bring Prefect's blocks to what the environments' file says, now and at every `up`."""
    with connected(quiet=True) as home:
        from deployments.apply import apply as apply_file  # noqa: PLC0415

        file = file or home.environments_file
        for change in apply_file(home, file):
            typer.echo(f"{change.environment}: {change.done}")
        home.remember_environments(file)
        from blocks.pick_lists import offer  # noqa: PLC0415

        offer()


@app.command()
def up(
    worker: Annotated[bool, typer.Option(help="Also run what GitHub, schedules and the UI start.")] = True,
    start: Annotated[
        bool, typer.Option(help="Start the processes; not where compose or systemd runs them.")
    ] = True,
) -> None:
    """Start what a team runs on one host: engine, registry, Prefect's server, workers, webhook receiver."""
    from deployments.local import bring_up  # noqa: PLC0415
    from deployments.processes import Process  # noqa: PLC0415
    from deployments.set_up import SetUp  # noqa: PLC0415

    processes = [one for one in Process if one is not Process.server] if worker else []
    typer.echo(f"Prefect UI: {bring_up(SetUp(), processes, start=start)}")


@app.command(name="run")
def run_process(
    process: Annotated[str, typer.Argument(help="server, worker, scheduled or receiver.")],
    host: Annotated[
        str,
        typer.Option(
            help="Address that the server or receiver listens on; if not given 127.0.0.1, "
            "and for the server what PREFECT_SERVER_API_HOST says."
        ),
    ] = "",
) -> None:
    """Run one of the processes of `up` in the foreground: for compose and systemd."""
    from deployments.machine.home import Home  # noqa: PLC0415
    from deployments.processes import Process, address, command  # noqa: PLC0415
    from deployments.stack import environment  # noqa: PLC0415

    if process not in list(Process):
        raise BadInput(f"there is no process {process}", expected=f"one of {', '.join(Process)}", got=process)
    home = Home()
    argv = command(Process(process), home, host or address(Process(process)))
    os.execve(argv[0], argv, {**os.environ, **environment(home)})  # noqa: S606


@app.command()
def down(
    data: Annotated[
        bool, typer.Option(help="Also delete the ledger, what was remembered, and every image made here.")
    ] = False,
    keep_images: Annotated[
        bool, typer.Option(help="With --data: keep the images, which take longest to make.")
    ] = False,
) -> None:
    """Stop and remove everything that `up` and the releases have started; says what stays."""
    from deployments.local import take_down  # noqa: PLC0415

    for line in take_down(data=data, keep_images=keep_images):
        typer.echo(line)


@app.command()
def doctor(
    environment: Annotated[
        str, typer.Option("--environment", "-e", help="Instead: what protects this one in Google Cloud.")
    ] = "",
    file: Annotated[Path | None, typer.Option(help="With --environment: the environments' file.")] = None,
    as_json: AsJson = False,
) -> None:
    """What is missing on this machine, and how to get it."""
    if environment:
        show_protections(environment, file, as_json=as_json)
        return
    from deployments.doctor import examine  # noqa: PLC0415

    findings = examine()
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            typer.echo(f"{'ok     ' if finding.ok else 'MISSING'}  {finding.what}: {finding.detail}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(4)


@app.command()
def schema() -> None:
    """Print the JSON schema of model-deploy.yaml."""
    from releases.spec import ServiceSpec  # noqa: PLC0415

    typer.echo(json.dumps(ServiceSpec.model_json_schema(), indent=2))
