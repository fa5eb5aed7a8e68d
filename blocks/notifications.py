"""Telling people through Prefect's notification blocks: Slack, e-mail, or any block that can notify."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import httpx
from prefect import get_run_logger
from prefect.blocks.core import Block

WITH_ADDRESS = (httpx.HTTPError, httpx.InvalidURL)
LONGEST = 300
KINDS = ("prefect.blocks.notifications", "blocks.email")  # Prefect's own and ours, to be loadable


def tell(blocks: Sequence[str], subject: str, body: str) -> None:
    """Send it through every block (TYPE/NAME). One that fails is warned of, and fails nothing else."""
    for name in blocks:
        try:
            for kind in KINDS:
                import_module(kind)
            block: Any = Block.load(name)
            block.notify(body, subject)
        except Exception as error:  # noqa: BLE001 - whatever a block does wrong, a release goes on
            get_run_logger().warning("%s could not be told: %s", name, _why(error))


def _why(error: Exception) -> str:
    """Without the address, which is the secret of many a webhook."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    return type(error).__name__ if isinstance(error, WITH_ADDRESS) else str(error)[:LONGEST]
