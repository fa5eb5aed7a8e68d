"""The agent's own upgrade: it gets the image that the metadata names, and makes way for it."""

import os
import threading
from collections.abc import Callable, Mapping

from agent.engine import AWAY
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
        self.wanted = own
        self.fetching: threading.Thread | None = None

    def __call__(self, attributes: Mapping[str, str]) -> None:
        """Get another image if one is wanted, and end then; the machine's unit starts that one.

        Whoever calls does not wait: a pull may take minutes, and releases go on meanwhile.
        Also if the VM is given back to Google's container startup agent: the unit takes away what is ours.
        """
        if given_back(attributes):
            print("the VM is given back to the container startup agent", flush=True)  # noqa: T201
            self.end(0)
            return
        self.wanted = attributes.get(AGENT_IMAGE_KEY, self.own).strip()
        if self.wanted == self.own or (self.fetching is not None and self.fetching.is_alive()):
            return
        self.fetching = threading.Thread(target=self._fetch, args=[self.wanted], daemon=True)
        self.fetching.start()

    def _fetch(self, wanted: str) -> None:
        try:
            self.ensure(wanted)
        except (StepFailed, *AWAY) as failed:  # tried again at the next answer of the metadata server
            print(f"the agent stays {self.own}: {failed}", flush=True)  # noqa: T201 - the VM's console
            return
        if wanted == self.wanted:
            print(f"the agent makes way for {wanted}", flush=True)  # noqa: T201 - the VM's console
            self.end(0)
