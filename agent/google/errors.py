"""What Google's answers come to when they are none."""

from collections.abc import Callable

import requests

NOT_FOUND = 404
UNAUTHORIZED = 401
PRECONDITION_FAILED = 412
WORTH_ASKING_AGAIN = frozenset({0, 408, 429, 500, 502, 503, 504})
ERROR = 400
SHOWN = 300


class GoogleError(OSError):
    """An answer that is none. `status` 0: no answer at all."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


def checked(ask: Callable[[], requests.Response]) -> requests.Response:
    """The answer, if it is one. Raises GoogleError."""
    try:
        answer = ask()
    except requests.RequestException as error:
        raise GoogleError(f"no answer: {str(error)[:SHOWN]}") from error
    if answer.status_code >= ERROR:
        where = answer.url.partition("?")[0]
        raise GoogleError(f"HTTP {answer.status_code} from {where}: {_words(answer)}", answer.status_code)
    return answer


def _words(answer: requests.Response) -> str:
    """What the APIs say in their JSON, or the text as it is."""
    try:
        return str(answer.json()["error"]["message"])[:SHOWN]
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()[:SHOWN]
