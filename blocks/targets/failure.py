"""What agents say of a generation that they gave up, or are slow with, as a problem for people."""

from collections.abc import Mapping

from blocks.targets.edges import answered
from releases.problem import Failed, Unreachable
from releases.status import Failure, NodeStatus, Phase, ServiceStatus

READY = "a container that is ready in time; run.health sets path and limit"


def logs_command(service: str, environment: str = "local") -> str:
    """What shows the lines of a container that is gone; its node stores them within a minute."""
    there = "" if environment == "local" else f" --environment {environment}"
    return f"model-deploy logs {service}{there} --since 10m   # all of them within a minute"


def failed(service: str, failure: Failure, node: str = "") -> Failed:
    """With the reason, the limit, the last answer and the container's last lines.

    What is live then, whoever takes the release back says.
    """
    took = f" after {failure.elapsed:.1f} s" if failure.elapsed is not None else ""
    limit = f" (limit {failure.limit:.0f} s)" if failure.limit is not None else ""
    got = [f"{failure.reason}{took}{limit}", failure.last_answer, *failure.log_tail]
    # What is to be mended then is no command; who takes the release back has the one that shows the lines.
    probing = failure.phase is Phase.probe
    return Failed(
        f"{service} failed in `{failure.phase}`",
        where=node,
        expected="; ".join(filter(None, [READY, failure.next_step])) if probing else "",
        got="\n       ".join(line for line in got if line),
        next_step="" if probing else failure.next_step,
    )


def unheard(service: str, generation: int, answers: Mapping[str, NodeStatus | str]) -> bool:
    """Whether a node answers, but does not know the generation yet."""
    told = [one.services.get(service) for one in answered(answers, answers).values()]
    return any(status is None or status.generation < generation for status in told)


def console(node: str, project: str) -> str:
    """The command that shows what a VM's console says. `node`: its zone and name."""
    zone, _, name = node.rpartition("/")
    return f"gcloud compute instances get-serial-port-output {name} --zone={zone} --project={project}"


def late(service: str, seconds: float, answers: Mapping[str, NodeStatus | str], project: str) -> Unreachable:
    """Some nodes have not come as far as was waited for. `answers`: what each of them says."""
    name = min(answers)
    answer = answers[name]
    if isinstance(answer, NodeStatus):
        status = answer.services.get(service, ServiceStatus())
        said = answer.problem or status.message
        answer = f"generation {status.generation}, phase {status.phase} {said}".strip()
    return Unreachable(
        f"{len(answers)} nodes have not come far enough with {service}",
        where=", ".join(sorted(answers)[:5]),
        expected=f"within {seconds:.0f} s",
        got=f"{name}: {answer}",
        next_step=console(name, project),
    )
