"""A large file to Cloud Storage piece by piece, going on where whoever sent before has come to.

Google's own client does so within a process only; the protocol:
https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from blocks.checksums import Summed
from blocks.upload_session import UploadSession

PIECE = 32 << 20  # of the file; in memory at once
ANSWER_SECONDS = 60
ID = re.compile(r"upload_id=[^&\s'\")]+")  # whoever has it may write the object
UPTO = re.compile(r"bytes=0-(\d+)")
DONE, MORE = (200, 201), 308
GONE = (400, 404, 410)  # the session; 400 where what it has got is not of this file
EXISTS = 412


def upload_large(
    upload: "ResumableUpload", session: UploadSession, begin: Callable[[], str], retry: Any
) -> dict[str, Any]:
    """The object as Cloud Storage describes it. `begin` gives the address of a new session.

    `retry` is for one piece. Raises GoogleAPICallError, RetryError.
    """
    go_on, earlier = retry(upload.go_on), bool(session.address)
    while True:
        if not session.address:
            session.keep(begin())
            upload.address, upload.at = session.address, 0
        try:
            while (there := go_on()) is None:
                pass
        except _errors().GoogleAPICallError as error:
            if error.code in (*GONE, EXISTS):
                session.forget()
            if error.code not in GONE or not earlier:
                raise
            earlier = False  # its session is of no use: once more from the start
        else:
            session.forget()
            return dict(there)


@dataclass
class ResumableUpload:
    """One file on its way. `at` is None where only Google knows how much has arrived."""

    http: Any  # a session of requests that is let in
    address: str
    source: Summed
    size: int
    at: int | None = None

    def go_on(self) -> dict[str, Any] | None:
        """Ask how much is there, or send a piece; the object when it is whole.

        May be called again whatever it raised. Raises GoogleAPICallError.
        """
        before, self.at = self.at, None  # until there is an answer
        answer = self._asked() if before is None else self._sent(before)
        if answer.status_code in DONE:
            return dict(answer.json())
        upto = UPTO.fullmatch(answer.headers.get("Range", ""))
        at = int(upto[1]) + 1 if upto else 0
        if before is not None and at <= before:
            raise _errors().ServiceUnavailable("nothing of what was sent has arrived")
        self.at = at
        return None

    def _asked(self) -> Any:
        return self._put(b"", {"Content-Range": f"bytes */{self.size}"})

    def _sent(self, at: int) -> Any:
        self.source.reach(at)
        self.source.seek(at)
        data = self.source.read(min(PIECE, self.size - at))
        end = at + len(data)
        headers = {"Content-Range": f"bytes {at}-{end - 1}/{self.size}"}
        if end == self.size:  # what an earlier process has sent is part of it
            headers["X-Goog-Hash"] = f"crc32c={self.source.sums().crc32c}"
        return self._put(data, headers)

    def _put(self, data: bytes, headers: dict[str, str]) -> Any:
        """The answer. What is raised does not tell the session's id."""
        import requests  # noqa: PLC0415 - cloud environments only

        try:
            answer = self.http.put(
                self.address, data=data, headers=headers, timeout=ANSWER_SECONDS, allow_redirects=False
            )
        except (requests.RequestException, ConnectionError) as error:
            told = ID.sub("upload_id=…", f"{type(error).__name__}: {error}")
            raise _errors().ServiceUnavailable(told) from None
        if answer.status_code in DONE or answer.status_code == MORE:
            return answer
        raise _errors().from_http_status(answer.status_code, ID.sub("upload_id=…", answer.text[:1000]))


def _errors() -> Any:
    from google.api_core import exceptions  # noqa: PLC0415 - cloud environments only

    return exceptions
