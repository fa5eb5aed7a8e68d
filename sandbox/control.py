"""What only the sandbox has: tokens for anyone, and a clock that can be moved."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from sandbox.routing import Atomic, Here, Json

router = APIRouter(prefix="/sandbox", route_class=Atomic)


class Wanted(BaseModel):
    """Whom a token is to speak for."""

    model_config = ConfigDict(extra="forbid")

    member: str = Field(pattern=r"^(user|serviceAccount):.+@.+$")
    seconds: float = Field(default=3600, gt=0)


class Step(BaseModel):
    """How far to move the clock."""

    model_config = ConfigDict(extra="forbid")

    seconds: float


@router.post("/tokens")
def token(world: Here, wanted: Wanted) -> Json:
    """A bearer token for an identity."""
    return {"access_token": world.identities.issue(wanted.member, world.now() + wanted.seconds)}


@router.post("/clock")
def move(world: Here, step: Step) -> Json:
    """Let time pass: tokens and retentions expire."""
    world.clock.ahead += step.seconds
    return {"now": world.timestamp()}


@router.get("/vms")
def vms(world: Here) -> Json:
    """Every VM with its address."""
    found = [
        {"project": vm.project, "zone": vm.zone, "name": vm.name, "status": vm.status, "address": vm.address}
        for vm in world.instances.values()
    ]
    return {"vms": found, "metadata_port": world.network.port}
