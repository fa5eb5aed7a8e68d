"""What an agent says about a generation it gave up, as a problem for people."""

from releases.problem import Failed
from releases.status import Failure, ServiceStatus


def failed(service: str, status: ServiceStatus, failure: Failure, node: str = "") -> Failed:
    """With the reason, the limit, the last answer and the container's last lines."""
    took = f" after {failure.elapsed:.1f} s" if failure.elapsed is not None else ""
    limit = f" (limit {failure.limit:.0f} s)" if failure.limit is not None else ""
    got = [f"{failure.reason}{took}{limit}", failure.last_answer, *failure.log_tail]
    live = f"release {status.live}" if status.live else "nothing"
    return Failed(
        f"{service} failed in `{failure.phase}`; live is {live}",
        where=node,
        got="\n       ".join(line for line in got if line),
        next_step=failure.next_step or f"model-deploy logs {service}",
    )
