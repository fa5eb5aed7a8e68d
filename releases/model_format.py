"""Which model files may run code when they are loaded, and why."""

from enum import StrEnum
from pathlib import PurePosixPath

# Python's pickle protocols 2 to 5 begin with one of these.
PICKLED = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
ZIPPED = b"PK\x03\x04"
ALWAYS_PICKLES = {".pkl", ".pickle", ".dill", ".joblib", ".pt", ".pth", ".ckpt"}
PERHAPS_PICKLES = {".bin", ".model", ".data"}  # pytorch_model.bin is a zip file with a pickle in it
KERAS = {".h5", ".hdf5", ".keras"}
NUMPY = b"\x93NUMPY"
OBJECTS = b"|O"  # in the header of an array of Python objects, which are pickled
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"]\0\0", b"\x04\x22\x4d\x18", b"\x78")  # as joblib does
TAR, TAR_AT = b"ustar", 257
HEAD = 512  # bytes that are enough to tell
SAFER = "ONNX and safetensors hold data only"


class Risk(StrEnum):
    """What loading such a file does."""

    pickle = "loading a pickle runs whatever code its author has put into it"
    keras = "a Keras file may hold Lambda layers: Python code that runs once it is loaded"


def risk_of(path: str, head: bytes = b"") -> Risk | None:
    """What is to be feared of the file. `head`: its first bytes, where they are at hand."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in KERAS:
        return Risk.keras
    if suffix in ALWAYS_PICKLES or head.startswith(PICKLED):
        return Risk.pickle
    if head.startswith(NUMPY) and OBJECTS in head:
        return Risk.pickle
    if suffix in PERHAPS_PICKLES and head.startswith(ZIPPED):
        return Risk.pickle
    return None


def is_archive(head: bytes) -> bool:
    """Whether there are files in it, whatever it is called."""
    return head.startswith(ZIPPED) or head[TAR_AT:].startswith(TAR)
