"""Train the model and write serving/model/: `python -m serving.train`. Same inputs, same files."""

import json
from pathlib import Path

from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serving.model import GRAPH_FILE, LABELS_FILE
from serving.settings import BAKED_MODEL

METRICS_FILE = "metrics.json"
SEED = 7
OPSET = 17  # Pinned, so that a newer skl2onnx does not rewrite the file.


def train(folder: Path) -> dict[str, float]:
    """Write graph, labels and metrics; returns the metrics."""
    iris = load_iris()
    x_train, x_test, y_train, y_test = train_test_split(
        iris.data.astype("float32"), iris.target, test_size=0.3, random_state=SEED, stratify=iris.target
    )
    classifier = make_pipeline(StandardScaler(), LogisticRegression(random_state=SEED))
    classifier.fit(x_train, y_train)
    graph = to_onnx(
        classifier,
        x_train[:1],
        name="iris",
        options={"zipmap": False},  # plain arrays: no dictionary per row
        target_opset=OPSET,
    )
    scores = classifier.predict_proba(x_test)
    metrics = {
        "accuracy": round(float(accuracy_score(y_test, scores.argmax(axis=1))), 4),
        "log_loss": round(float(log_loss(y_test, scores)), 4),
        "train_rows": len(x_train),
        "test_rows": len(x_test),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / GRAPH_FILE).write_bytes(graph.SerializeToString(deterministic=True))
    _write_json(folder / LABELS_FILE, [str(name) for name in iris.target_names])
    _write_json(folder / METRICS_FILE, metrics)
    return metrics


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    print(json.dumps(train(BAKED_MODEL)))  # noqa: T201 - the command's answer
