"""Since when a node has not answered, while a release waits for it."""

import time
from collections.abc import Iterable, Mapping

from blocks.targets.edges import answered
from blocks.targets.failure import console
from releases.problem import Unreachable
from releases.status import NodeStatus

SILENT_SECONDS = 60.0  # longer than an agent's own upgrade, far shorter than a pull may take


class Silence:
    """Every node counts as heard when the waiting begins."""

    def __init__(self, names: Iterable[str]) -> None:
        self.heard = dict.fromkeys(names, time.monotonic())

    def hear(self, answers: Mapping[str, NodeStatus | str]) -> str | None:
        """The node that has been silent for too long, told once in that time; None: there is none."""
        now = time.monotonic()
        self.heard.update(dict.fromkeys(answered(answers, answers), now))
        for name in answers:
            if now - self.heard[name] > SILENT_SECONDS:
                self.heard[name] = now
                return name
        return None


def lost(service: str, name: str, why: str, project: str) -> Unreachable:
    """One node is silent where others answer: waiting longer for an image or a start would be in vain."""
    return Unreachable(
        f"{name} does not answer while {service} is released to it",
        expected=f"its agent's status within {SILENT_SECONDS:.0f} s, as the other nodes give",
        got=why,
        next_step=console(name, project),
    )
