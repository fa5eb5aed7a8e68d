"""One JSON line for each prediction: what came in and what was said. It shows whether inputs drift."""

import json
import sys
from collections.abc import Sequence

from serving.flower import Flower


def log_predictions(flowers: Sequence[Flower], labels: Sequence[str]) -> None:
    """Write them at once: lines of requests that are answered side by side do not mix."""
    lines = [
        json.dumps({"inputs": flower.model_dump(), "label": label})
        for flower, label in zip(flowers, labels, strict=True)
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
