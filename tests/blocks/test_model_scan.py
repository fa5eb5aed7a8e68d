"""Files that may run code when they are loaded: said, and refused where they would do harm."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.model_folder import sources_in
from blocks.model_scan import suspects_in, warnings
from releases.model_format import Risk, risk_of
from releases.problem import Refused


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("true",))


def told(file: Path, *, allow_unsafe: bool = False) -> list[str]:
    return warnings(suspects_in(sources_in(file)), allow_unsafe=allow_unsafe)


def as_pickle(file: Path, content: Any) -> None:
    file.write_bytes(pickle.dumps(content))


def as_torch(file: Path, content: Any) -> None:
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("archive/data.pkl", pickle.dumps(content, protocol=2))
        made.writestr("archive/data/0", b"\0" * 100)


def as_joblib(file: Path, content: Any, compress: Any = 0) -> None:
    # joblib writes the array between the opcodes: whoever reads opcodes only gets this far
    joblib.dump([np.arange(1000.0), content], file, compress=compress)


def packed_by(pack: Callable[[bytes], bytes]) -> Callable[[Path, Any], None]:
    return lambda file, content: file.write_bytes(pack(pickle.dumps(content)))


KINDS: list[tuple[str, Callable[[Path, Any], None]]] = [
    ("model.pkl", as_pickle),
    ("model.bin", as_pickle),
    ("model", as_pickle),
    ("model.pt", as_torch),
    ("pytorch_model.bin", as_torch),
    ("model.joblib", as_joblib),
    ("model.joblib", partial(as_joblib, compress=3)),
    ("model.joblib", partial(as_joblib, compress=("gzip", 3))),
    ("model.joblib", partial(as_joblib, compress=("xz", 3))),
    ("model.pkl", packed_by(zlib.compress)),
    ("model.pkl", packed_by(gzip.compress)),
    ("model.pkl", packed_by(bz2.compress)),
    ("model.pkl", packed_by(lzma.compress)),
]


def as_array(file: Path, content: Any) -> None:
    with file.open("wb") as opened:
        np.save(opened, np.array([content], dtype=object), allow_pickle=True)


def as_arrays(file: Path, content: Any) -> None:
    with file.open("wb") as opened:
        np.savez(opened, weights=np.array([content], dtype=object))


def as_text(file: Path, content: Any) -> None:
    file.write_bytes(pickle.dumps(content, protocol=0))


def as_tar(file: Path, content: Any) -> None:
    with tarfile.open(file, "w") as made:
        data = pickle.dumps(content)
        entry = tarfile.TarInfo("sub/model.pkl")
        entry.size = len(data)
        made.addfile(entry, io.BytesIO(data))


KINDS += [
    ("weights.npy", as_array),
    ("weights.npz", as_arrays),
    ("weights", as_text),
    ("weights.dat", partial(as_joblib, compress=3)),
    ("weights.xz", partial(as_joblib, compress=("xz", 3))),
    ("checkpoint.tar", as_torch),
    ("model.mar", as_torch),
    ("weights.tar", as_tar),
]
TEXT = [kind for kind in KINDS if kind[0] == "weights"]


@pytest.mark.parametrize(("name", "write"), KINDS)
def test_what_would_run_a_command_is_refused_and_named(
    tmp_path: Path, name: str, write: Callable[[Path, Any], None]
) -> None:
    write(tmp_path / name, {"weights": Harm()})
    with pytest.raises(Refused) as caught:
        told(tmp_path / name)
    assert "posix.system" in str(caught.value)
    assert "--allow-unsafe" in caught.value.next_step
    assert any("posix.system" in line for line in told(tmp_path / name, allow_unsafe=True))


@pytest.mark.parametrize(
    ("name", "write"), [kind for kind in KINDS if kind[0] != "model.bin" and kind not in TEXT]
)
def test_what_only_holds_data_is_published_with_a_warning_that_says_why(
    tmp_path: Path, name: str, write: Callable[[Path, Any], None]
) -> None:
    write(tmp_path / name, {"weights": [1.0, 2.0], "labels": np.arange(10)})
    (line,) = told(tmp_path / name)
    assert Risk.pickle in line
    assert "safetensors" in line


def test_what_cannot_be_looked_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(b"\x04\x22\x4d\x18" + b"x" * 100)
    with pytest.raises(Refused, match="lz4"):
        told(tmp_path)
    (tmp_path / "model.joblib").write_bytes(gzip.compress(pickle.dumps([1] * 1000))[:-20])
    with pytest.raises(Refused, match="cannot be scanned"):
        told(tmp_path)


def keras_layers(kind: str) -> str:
    return json.dumps({"class_name": "Sequential", "config": {"layers": [{"class_name": kind}]}})


@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_a_lambda_layer_is_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"model.{suffix}"
    for kind in ("Dense", "Lambda"):
        if suffix == "h5":
            file.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * ((1 << 20) - 60) + keras_layers(kind).encode())
        else:
            with zipfile.ZipFile(file, "w") as made:
                made.writestr("config.json", keras_layers(kind))
        if kind == "Dense":
            assert Risk.keras in told(file)[0]
    with pytest.raises(Refused, match="a Lambda layer"):
        told(file)


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors", "labels.json", "vocab.txt", "raw.bin"])
def test_what_holds_data_only_is_published_without_a_word(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x08\x01data")
    assert told(tmp_path) == []


def test_arrays_archives_and_packed_files_of_data_only_are_published_without_a_word(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(9.0))
    np.savez(tmp_path / "b.npz", x=np.arange(9.0))
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b"x,y\n1,2\n"))
    (tmp_path / "README.md").write_text("In this model\n.")
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as made:
        made.writestr("labels.json", "{}")
    assert told(tmp_path) == []


@given(st.binary(max_size=200))
def test_no_file_however_made_gets_the_scan_to_fail(data: bytes) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        (Path(folder) / "model.pkl").write_bytes(data)
        (Path(folder) / "model.pt").write_bytes(data)
        suspects_in(sources_in(Path(folder)))


def test_the_ending_is_read_in_any_case() -> None:
    assert risk_of("sub/MODEL.PKL") is Risk.pickle
