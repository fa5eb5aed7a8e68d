"""What a client sends: the measures of one flower."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Centimetres = Annotated[float, Field(gt=0, le=30, allow_inf_nan=False, description="In centimetres.")]


class Flower(BaseModel):
    """One iris. The order of the fields is the order of the model's inputs."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"sepal_length": 6.3, "sepal_width": 3.3, "petal_length": 6.0, "petal_width": 2.5}
        },
    )

    sepal_length: Centimetres
    sepal_width: Centimetres
    petal_length: Centimetres
    petal_width: Centimetres

    def measures(self) -> list[float]:
        """One row of the model's input."""
        return [self.sepal_length, self.sepal_width, self.petal_length, self.petal_width]
