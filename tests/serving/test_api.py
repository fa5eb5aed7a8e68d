"""The contract of the API. Whether the answers are right is the smoke check's business, after the deploy."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving.app import create_app
from serving.settings import Settings

FLOWER = {"sepal_length": 6.3, "sepal_width": 3.3, "petal_length": 6.0, "petal_width": 2.5}


def assert_prediction(answer: dict[str, Any]) -> None:
    assert set(answer) == {"label", "probabilities", "model", "version"}
    probabilities = answer["probabilities"]
    assert len(probabilities) == 3
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert answer["label"] == max(probabilities, key=probabilities.__getitem__)
    assert (answer["model"], answer["version"]) == ("iris", "v9")


def test_one_flower(client: TestClient) -> None:
    answer = client.post("/predict", json=FLOWER)
    assert answer.status_code == 200
    assert_prediction(answer.json())


def test_list_keeps_order(client: TestClient) -> None:
    other = {**FLOWER, "petal_length": 1.2, "petal_width": 0.2}
    answer = client.post("/predict", json=[FLOWER, other, FLOWER])
    assert answer.status_code == 200
    first, second, third = answer.json()
    for prediction in (first, second, third):
        assert_prediction(prediction)
    assert first == third != second
    alone = client.post("/predict", json=FLOWER).json()
    assert first["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"null",
        b"[]",
        b"{}",
        b'{"sepal_length": 6.3, "sepal_width": 3.3, "petal_length": 6.0}',
        b'{"sepal_length": "wide", "sepal_width": 3.3, "petal_length": 6.0, "petal_width": 2.5}',
        b'{"sepal_length": -1, "sepal_width": 3.3, "petal_length": 6.0, "petal_width": 2.5}',
        b'{"sepal_length": NaN, "sepal_width": 3.3, "petal_length": 6.0, "petal_width": 2.5}',
        b'{"sepal_length": Infinity, "sepal_width": 3.3, "petal_length": 6.0, "petal_width": 2.5}',
        b'{"sepal_length": 6.3, "sepal_width": 3.3, "petal_length": 6.0, "petal_width": 2.5, "colour": 1}',
    ],
)
def test_bad_request_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"]


def test_list_has_a_limit(client: TestClient) -> None:
    assert client.post("/predict", json=[FLOWER] * 1000).status_code == 200
    assert client.post("/predict", json=[FLOWER] * 1001).status_code == 422


def test_healthy_once_the_model_is_loaded(client: TestClient) -> None:
    assert client.get("/healthz").status_code == 200


def test_without_a_model_not_healthy() -> None:
    # Without `with` the client does not run the start-up, so nothing is loaded.
    client = TestClient(create_app(Settings()))
    assert client.get("/healthz").status_code == 503
    assert client.post("/predict", json=FLOWER).status_code == 503
    assert client.get("/version").status_code == 200


def test_version(client: TestClient) -> None:
    assert client.get("/version").json() == {
        "model": "iris",
        "version": "v9",
        "model_sha256": "f00d",
        "revision": "abc123",
        "release": "7",
        "environment": "staging",
    }


def test_openapi_describes_the_flower(client: TestClient) -> None:
    api = client.get("/openapi.json").json()
    assert {"/predict", "/healthz", "/version"} <= set(api["paths"])
    assert set(FLOWER) == set(api["components"]["schemas"]["Flower"]["properties"])
    assert client.get("/docs").status_code == 200
