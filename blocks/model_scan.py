"""Looks into model files that may run code when loaded, and refuses what is known to be dangerous.

picklescan reads the imports of a pickle without loading it, also inside PyTorch's zip files, and says which
are dangerous. It stops where joblib writes an array between the opcodes, and does not look into joblib's
compression: we unpack, and search what it did not read for imports. A scan finds known tricks, no others.
"""

import bz2
import gzip
import io
import logging
import lzma
import pickletools
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from picklescan import scanner

from blocks.model_folder import Source
from releases.model_format import COMPRESSED, HEAD, SAFER, Risk, is_archive, risk_of
from releases.problem import Refused

BLOCK = 1 << 20
OVERLAP = 512  # bytes; longer than any import that is looked for
MOST_UNPACKED = 8 << 30  # bytes: a few kilobytes must not fill the disk
IN_MEMORY = 64 << 20
NAME = rb"[A-Za-z_][A-Za-z0-9_.]{0,99}"
# What comes after is looked at, not consumed: an import may begin within what looks like another.
GLOBAL = re.compile(rb"c(?=(" + NAME + rb")\n(" + NAME + rb")\n)")
# A short string with its length before it, and the one that follows, remembered or not in between.
STRINGS = re.compile(
    rb"\x8c[\x01-\x64](" + NAME + rb")(?=(?:\x94|q.|r.{4})?\x8c[\x01-\x64](" + NAME + rb"))", re.DOTALL
)
LAMBDA = re.compile(rb'"class_name":\s*"Lambda"')
IMPORTS = ("GLOBAL", "INST")  # of protocols 0 and 1
LZ4 = b"\x04\x22\x4d\x18"

logging.getLogger("picklescan").setLevel(logging.CRITICAL)  # what it finds is told once, by us


@dataclass(frozen=True)
class Suspect:
    """A file that may run code when it is loaded."""

    path: str
    risk: Risk
    dangers: tuple[str, ...] = ()
    unread: str = ""  # why it could not be looked into


def suspects_in(sources: list[Source]) -> list[Suspect]:
    """Every file that may run code, with what was found in it. Raises OSError."""
    found = []
    for source in sources:
        with source.file.open("rb") as opened:
            head = opened.read(HEAD)
        risk = risk_of(source.path, head) if head else None
        if head and risk is None:
            found += _hidden(source, head)
        elif risk is Risk.pickle:
            found.append(_pickle(source))
        elif risk is Risk.keras:
            found.append(Suspect(source.path, risk, tuple(_lambdas(source.file))))
    return found


def warnings(suspects: list[Suspect], *, allow_unsafe: bool) -> list[str]:
    """What the publisher is told of them. Raises Refused for what is dangerous, or cannot be looked into."""
    bad = [suspect for suspect in suspects if suspect.dangers or suspect.unread]
    if bad and not allow_unsafe:
        first = bad[0]
        raise Refused(
            f"{first.path} is not published: {_verdict(first)}",
            where=", ".join(suspect.path for suspect in bad),
            expected=f"files that only hold data; {SAFER}",
            got=str(first.risk),
            next_step="--allow-unsafe, if you know who made it and what it does",
        )
    told = [f"{suspect.path}: {suspect.risk}; {SAFER}" for suspect in suspects]
    return told + [f"{suspect.path}: {_verdict(suspect)}, allowed" for suspect in bad]


def _hidden(source: Source, head: bytes) -> list[Suspect]:
    """What the name does not tell: pickles in archives, in joblib's compression, or as plain text."""
    try:
        if is_archive(head):
            dangers, held = set(), False
            for path, opened in _members(source.file):
                inner = opened.read(HEAD)
                opened.seek(0)
                if inner and (risk_of(path, inner) is Risk.pickle or _is_text_pickle(opened)):
                    held = True
                    opened.seek(0)
                    dangers |= set(_imports(opened, PurePosixPath(path).suffix.lower()))
            return [Suspect(source.path, Risk.pickle, tuple(sorted(dangers)))] if held else []
        with _unpacked(source.file) as opened:
            inner = opened.read(HEAD)
            opened.seek(0)
            pickled = risk_of("", inner) is Risk.pickle or _is_text_pickle(opened)
        return [_pickle(source)] if pickled else []
    except Exception as error:  # noqa: BLE001 - what only looks compressed is data; what is cut off is not
        if head.startswith(COMPRESSED[:-1]) or is_archive(head):
            return [Suspect(source.path, Risk.pickle, unread=f"it cannot be scanned: {error}"[:200])]
        return []


def _members(file: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The files in a zip or tar file, each in memory or a scratch file."""
    with file.open("rb") as opened:
        zipped = zipfile.is_zipfile(opened)
    if zipped:
        with zipfile.ZipFile(file) as folder:
            for name in folder.namelist():
                with folder.open(name) as member, _plain(member) as plain:
                    yield name, plain
    else:
        with tarfile.open(file) as archive:
            for one in archive:
                inside = archive.extractfile(one)
                if inside is not None:
                    with _plain(inside) as plain:
                        yield one.name, plain


@contextmanager
def _plain(packed: "_Readable") -> Iterator[IO[bytes]]:
    """What it unpacks to, in memory or a scratch file. Raises ValueError."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as plain:
        while block := packed.read(BLOCK):
            plain.write(block)
            if plain.tell() > MOST_UNPACKED:
                raise ValueError(f"it unpacks to more than {MOST_UNPACKED >> 30} GiB")
        plain.seek(0)
        yield plain


def _is_text_pickle(opened: IO[bytes]) -> bool:
    """Protocols 0 and 1 begin with nothing of their own: is there an import that can be read up to?"""
    opened.seek(0)
    try:
        for operation, _, _ in pickletools.genops(opened):
            if operation.name in IMPORTS:
                return True
    except Exception:  # noqa: BLE001 - no pickle
        return False
    return False


def _verdict(suspect: Suspect) -> str:
    return f"it would run {', '.join(suspect.dangers)}" if suspect.dangers else suspect.unread


def _pickle(source: Source) -> Suspect:
    try:
        with _unpacked(source.file) as opened:
            dangers = set(_imports(opened, source.file.suffix.lower()))
    except Exception as error:  # noqa: BLE001 - a file made to break the scanner must not get past it
        return Suspect(source.path, Risk.pickle, unread=f"it cannot be scanned: {error}"[:200])
    return Suspect(source.path, Risk.pickle, tuple(sorted(dangers)))


def _imports(opened: IO[bytes], suffix: str) -> Iterator[str]:
    result = scanner.scan_bytes(opened, "", suffix)
    yield from _dangerous(result)
    if result.scan_err:
        opened.seek(0)
        for module, name in set(_written(opened)):
            alone = io.BytesIO(b"\x80\x02c" + module + b"\n" + name + b"\n.")
            yield from _dangerous(scanner.scan_pickle_bytes(alone, ""))


def _dangerous(result: scanner.ScanResult) -> Iterator[str]:
    return (
        f"{one.module}.{one.name}" for one in result.globals if one.safety is scanner.SafetyLevel.Dangerous
    )


def _written(opened: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Whatever looks like an import, module and name, anywhere in the bytes."""
    before = b""
    while block := opened.read(BLOCK):
        data = before + block
        for pattern in (GLOBAL, STRINGS):
            for match in pattern.finditer(data):
                yield match[1], match[2]
        before = data[-OVERLAP:]


@contextmanager
def _unpacked(file: Path) -> Iterator[IO[bytes]]:
    """The file, without the compression that joblib can put around it. Raises ValueError."""
    with file.open("rb") as opened:
        head = opened.read(6)
        opened.seek(0)
        if head.startswith(LZ4):
            raise ValueError("it is compressed with lz4")
        packed = _opened_by(head, opened)
        if packed is None:
            yield opened
            return
        with _plain(packed) as plain:
            yield plain


def _opened_by(head: bytes, opened: IO[bytes]) -> "_Readable | None":
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(opened)
    if head.startswith(b"BZh"):
        return bz2.open(opened)
    if head.startswith((b"\xfd7zXZ", b"]\0\0")):
        return lzma.open(opened)
    if head[:1] == b"\x78" and int.from_bytes(head[:2]) % 31 == 0:  # RFC 1950
        return _Zlib(opened)
    return None


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Zlib:
    """The standard library has no file of this kind."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened = opened
        self._unpack = zlib.decompressobj()

    def read(self, size: int, /) -> bytes:
        """At most this many bytes; none at the end. Raises zlib.error."""
        while not self._unpack.eof:
            packed = self._unpack.unconsumed_tail or self._opened.read(BLOCK)
            plain = self._unpack.decompress(packed, size)
            if plain or not packed:
                return plain
        return b""


def _lambdas(file: Path) -> Iterator[str]:
    """Keras keeps a model's layers as JSON: in an attribute of HDF5, or a file in a zip file."""
    with file.open("rb") as opened:
        if zipfile.is_zipfile(opened):
            with zipfile.ZipFile(opened) as folder:
                text = folder.read("config.json") if "config.json" in folder.namelist() else b""
                found = LAMBDA.search(text) is not None
        else:
            opened.seek(0)
            found = _has_lambda(opened)
    if found:
        yield "a Lambda layer"


def _has_lambda(opened: IO[bytes]) -> bool:
    before = b""
    while block := opened.read(BLOCK):
        if LAMBDA.search(before + block):
            return True
        before = block[-OVERLAP:]
    return False
