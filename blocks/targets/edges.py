"""Asks every node's own edge, from outside, what the node says of itself."""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
from pydantic import ValidationError

from releases.status import CANDIDATE_HEADER, STATUS_PATH, NodeStatus

ASKED_AT_ONCE = 32
ANSWER_SECONDS = 3.0
PAUSE = 0.25


class Edges:
    """One client for all nodes; an answer is the node's status, or why there is none."""

    def __init__(self) -> None:
        limits = httpx.Limits(max_connections=ASKED_AT_ONCE, max_keepalive_connections=ASKED_AT_ONCE)
        self.client = httpx.Client(timeout=ANSWER_SECONDS, limits=limits)

    def show(self, token: str) -> None:
        """Show the secret that reaches the candidate: only then are a failed one's last words told."""
        self.client.headers[CANDIDATE_HEADER] = token

    def ask(self, urls: Mapping[str, str]) -> dict[str, NodeStatus | str]:
        """Every node once, side by side."""
        if len(urls) == 1:
            return {name: self._ask(url) for name, url in urls.items()}
        with ThreadPoolExecutor(min(ASKED_AT_ONCE, max(1, len(urls)))) as pool:
            return dict(zip(urls, pool.map(self._ask, urls.values()), strict=True))

    def silent(self, urls: Mapping[str, str], seconds: float) -> dict[str, str]:
        """The nodes that have not answered within so many seconds, and why."""
        deadline, left = time.monotonic() + seconds, dict(urls)
        while True:
            answers = self.ask(left)
            why = {name: answer for name, answer in answers.items() if isinstance(answer, str)}
            if not why or time.monotonic() > deadline:
                return why
            left = {name: urls[name] for name in why}
            time.sleep(PAUSE)

    def _ask(self, url: str) -> NodeStatus | str:
        try:
            answer = self.client.get(f"{url}{STATUS_PATH}")
            answer.raise_for_status()
            return NodeStatus.model_validate_json(answer.content)
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}"
        except ValidationError as error:
            return f"it answers, but not as an agent: {str(error).splitlines()[0]}"


def answered(answers: Mapping[str, NodeStatus | str], names: Iterable[str]) -> dict[str, NodeStatus]:
    """Only those that have answered."""
    found = ((name, answers[name]) for name in names)
    return {name: one for name, one in found if isinstance(one, NodeStatus)}
