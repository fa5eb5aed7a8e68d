"""ACME's HTTP-01 challenges: the edge answers them for the account that the node's document names."""

import threading
import time

from docker.errors import DockerException

from agent.edge import Edge, EdgeError

RETRY_SECONDS = 2.0


class Challenges:
    """A thread of its own: the edge may be away, and who reads the document must not wait for it."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.changed = threading.Event()

    def want(self, thumbprint: str) -> None:
        """Answer for this account from now on; for none if it is empty."""
        if self.edge.thumbprint != thumbprint:
            self.edge.thumbprint = thumbprint
            self.changed.set()

    def run(self) -> None:
        """Tell the edge, for ever."""
        while True:
            self.changed.wait()
            self.changed.clear()
            try:
                self.edge.answer_challenges()
            except (EdgeError, DockerException, OSError) as error:
                print(f"the edge does not answer challenges: {error}", flush=True)  # noqa: T201 - the container's log
                time.sleep(RETRY_SECONDS)
                self.changed.set()
