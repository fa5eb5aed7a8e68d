"""The HTTP API. Run with `uvicorn serving.app:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Body, Depends, FastAPI, HTTPException, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from serving.access_log import hide_probes
from serving.flower import Flower
from serving.model import Model
from serving.prediction_log import log_predictions
from serving.settings import Settings

Flowers = Annotated[list[Flower], Field(min_length=1, max_length=1000)]


class Prediction(BaseModel):
    """The answer for one flower."""

    label: str
    probabilities: dict[str, float]
    model: str
    version: str


class Health(BaseModel):
    """The answer to a probe."""

    status: str


class Version(BaseModel):
    """What is running here."""

    model: str
    version: str
    model_sha256: str
    revision: str
    release: str
    environment: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the model before the first request; one that cannot be loaded ends the process."""
    app.state.model = Model(app.state.settings.model_dir)
    yield
    app.state.model = None


def create_app(settings: Settings) -> FastAPI:
    """Build the API; its model is loaded at start-up."""
    app = FastAPI(
        title="Iris", description="Which iris is it?", version=settings.model_version, lifespan=lifespan
    )
    app.state.settings = settings
    app.state.model = None
    app.exception_handler(RequestValidationError)(refuse)

    @app.post("/predict")
    def predict(
        flowers: Annotated[Flower | Flowers, Body()], model: Annotated[Model, Depends(loaded_model)]
    ) -> Prediction | list[Prediction]:
        """Name one flower, or each of a list."""
        batch = flowers if isinstance(flowers, list) else [flowers]
        predictions = [
            Prediction(
                label=max(scores, key=scores.__getitem__),
                probabilities=scores,
                model=settings.model_name,
                version=settings.model_version,
            )
            for scores in model.probabilities([flower.measures() for flower in batch])
        ]
        log_predictions(batch, [prediction.label for prediction in predictions])
        return predictions if isinstance(flowers, list) else predictions[0]

    @app.get("/healthz", dependencies=[Depends(loaded_model)])
    async def healthz() -> Health:
        """200 once the model is loaded, 503 otherwise."""
        return Health(status="ok")

    @app.get("/version")
    async def version() -> Version:
        """Say which model, image and release answer here."""
        return Version(
            model=settings.model_name,
            version=settings.model_version,
            model_sha256=settings.model_sha256,
            revision=settings.revision,
            release=settings.release,
            environment=settings.environment,
        )

    return app


async def loaded_model(request: Request) -> Model:
    """Give the model, or answer 503 while there is none."""
    model: Model | None = request.app.state.model
    if model is None:
        raise HTTPException(503, "the model is not loaded")
    return model


async def refuse(_request: Request, error: RequestValidationError) -> JSONResponse:
    """Say what is wrong with a request, without sending all of it back."""
    # FastAPI's own answer repeats the input: a NaN in it cannot be written as JSON and ends as a 500.
    detail = [{key: part[key] for key in ("type", "loc", "msg")} for part in error.errors()]
    return JSONResponse({"detail": jsonable_encoder(detail)}, status_code=422)


hide_probes()
app = create_app(Settings())
