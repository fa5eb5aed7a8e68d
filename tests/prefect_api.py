"""Prefect's server, asked as its UI asks it."""

import time
from typing import Any

import httpx


def ask(address: str, method: str, path: str, body: object = None) -> Any:
    """Its answer's JSON, None for none; on its SQLite a writer that came second is told 503."""
    for pause in (0.2, 1.0, 5.0, None):
        answer = httpx.request(method, f"{address}{path}", json=body, timeout=30)
        if answer.status_code != 503 or pause is None:
            break
        time.sleep(pause)
    answer.raise_for_status()
    return answer.json() if answer.content else None
