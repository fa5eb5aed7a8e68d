"""What a PEM file with a certificate chain and its key is worth, found out by a handshake in memory.

So OpenSSL itself judges, as it will for clients: no other library reads keys here.
"""

import re
import ssl
import tempfile
from datetime import UTC, datetime
from pathlib import Path

_BLOCK = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)
CERTIFICATE = "CERTIFICATE"
FLIGHTS = 10  # TLS needs two or three


class Unfit(Exception):  # noqa: N818 - reads as what it is
    """It cannot be served; the text says why, and holds nothing of the key."""


def normal(text: str) -> str:
    """The blocks and nothing between them: HAProxy's runtime takes a blank line for the end. Raises Unfit."""
    blocks = [(match[1], match[0]) for match in _BLOCK.finditer(text)]
    if not any(kind == CERTIFICATE for kind, _ in blocks):
        raise Unfit("it holds no certificate (BEGIN CERTIFICATE)")
    if any("ENCRYPTED" in block for _, block in blocks):
        raise Unfit("its private key is encrypted")
    if not any(kind.endswith("PRIVATE KEY") for kind, _ in blocks):
        raise Unfit("it holds no private key (BEGIN PRIVATE KEY)")
    if not all(block.isascii() for _, block in blocks):
        raise Unfit("a block of it is not plain ASCII")
    lines = [line.strip() for _, block in blocks for line in block.splitlines()]
    return "\n".join(line for line in lines if line) + "\n"


def check(text: str, hosts: list[str], folder: Path) -> datetime:
    """Serve each host from it once, in memory; when it ends. Raises Unfit.

    `folder`: where the text may lie in a file for a moment, which is the only way to have it loaded.
    """
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".pem-", encoding="ascii") as file:  # mode 0600
        file.write(text)
        file.flush()
        server = _server(Path(file.name))
    return min(_served(server, text, host) for host in hosts)


def expires(path: Path) -> datetime:
    """When the file's first certificate ends, whether it has ended or not. Raises Unfit, OSError."""
    text = path.read_text(encoding="ascii")
    return _served(_server(path), text, "", any_time=True)


def _server(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(path)
    except ssl.SSLError as error:
        mismatch = "KEY_VALUES_MISMATCH" in str(error)
        why = (
            "its key is another certificate's"
            if mismatch
            else f"OpenSSL cannot read it ({error.reason or 'no PEM'})"
        )
        raise Unfit(why) from None
    return context


def _served(server: ssl.SSLContext, text: str, host: str, *, any_time: bool = False) -> datetime:
    """A handshake with a client that trusts this one certificate."""
    leaf = next(match[0] for match in _BLOCK.finditer(text) if match[1] == CERTIFICATE)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = bool(host)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if any_time:
        client.verify_flags |= NO_CHECK_TIME
    client.load_verify_locations(cadata=leaf)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, there, server_hostname=host or None)
    answering = server.wrap_bio(there, back, server_side=True)
    try:
        for _ in range(FLIGHTS):
            if all([_done(asking), _done(answering)]):
                break
    except ssl.SSLCertVerificationError as error:
        raise Unfit(error.verify_message.rstrip(".")) from None
    except ssl.SSLError as error:
        raise Unfit(f"no handshake succeeds with it ({error.reason})") from None
    found = asking.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found["notAfter"])), UTC)


NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h; Python has no name for it


def _done(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
