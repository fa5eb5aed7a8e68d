"""Where the desired state comes from: a file on a laptop, metadata on a VM."""

from typing import Protocol


class Unreadable(Exception):  # noqa: N818 - reads as what is the matter
    """There may be a document, but it cannot be had or understood now; the text is for the status."""


class Source(Protocol):
    """Asked again and again by one thread."""

    def next(self) -> bytes | None:
        """The document as it is now, after a while in which it may have changed; None if there is none.

        The first call answers at once. Raises Unreadable, after a pause that grows.
        """
