"""Keeps probes out of the access log: one every few milliseconds would bury the requests of users."""

import logging

_PATH_ARGUMENT = 2  # uvicorn logs (client, method, path, HTTP version, status)


class WithoutProbes(logging.Filter):
    """Lets everything through except /healthz."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        arguments = record.args
        return not (
            isinstance(arguments, tuple)
            and len(arguments) > _PATH_ARGUMENT
            and arguments[_PATH_ARGUMENT] == "/healthz"
        )


def hide_probes() -> None:
    """Filter uvicorn's access log."""
    logging.getLogger("uvicorn.access").addFilter(WithoutProbes())
