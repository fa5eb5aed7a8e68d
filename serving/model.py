"""The model: an ONNX graph and the names of its classes."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

GRAPH_FILE = "model.onnx"
LABELS_FILE = "labels.json"


class Model:
    """A classifier whose folder holds data only: nothing in it runs when it is loaded."""

    def __init__(self, folder: Path) -> None:
        options = ort.SessionOptions()
        # One request is microseconds of work: more threads would only fight over the cores.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(
            str(folder / GRAPH_FILE), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self.labels: list[str] = json.loads((folder / LABELS_FILE).read_text(encoding="utf-8"))
        self._check_labels()

    def probabilities(self, rows: Sequence[Sequence[float]]) -> list[dict[str, float]]:
        """For each row the probability of each class."""
        table = np.asarray(rows, dtype=np.float32)
        (scores,) = self._session.run(["probabilities"], {self._input: table})
        return [dict(zip(self.labels, row, strict=True)) for row in scores.tolist()]

    def _check_labels(self) -> None:
        # A model folder that does not fit together must stop the start, not spoil the answers.
        classes = self._session.get_outputs()[1].shape[1]
        if len(self.labels) != classes or len(set(self.labels)) != classes:
            raise ValueError(f"{LABELS_FILE} must name {classes} different classes, got {self.labels}")
