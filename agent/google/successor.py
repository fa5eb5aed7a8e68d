"""The agent's own upgrade: it gets the image that the metadata names, and makes way for it."""

import os
from collections.abc import Callable, Mapping

from agent.failure import StepFailed
from releases.node_boot import AGENT_IMAGE_KEY, given_back


class Successor:
    """`own` is what runs now. What serves is not touched: the next agent goes on as after a kill."""

    def __init__(
        self, own: str, ensure: Callable[[str], None], end: Callable[[int], object] = os._exit
    ) -> None:
        self.own = own
        self.ensure = ensure
        self.end = end

    def __call__(self, attributes: Mapping[str, str]) -> None:
        """End if another image is wanted and is here; the machine's unit starts that one.

        Also if the VM is given back to Google's container startup agent: the unit takes away what is ours.
        """
        if given_back(attributes):
            print("the VM is given back to the container startup agent", flush=True)  # noqa: T201
            self.end(0)
            return
        wanted = attributes.get(AGENT_IMAGE_KEY, self.own).strip()
        if wanted == self.own:
            return
        try:
            self.ensure(wanted)
        except StepFailed as failed:
            print(f"the agent stays {self.own}: {failed}", flush=True)  # noqa: T201 - the VM's console
            return
        print(f"the agent makes way for {wanted}", flush=True)  # noqa: T201 - the VM's console
        self.end(0)
