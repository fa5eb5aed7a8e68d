"""All the APIs at one address; each has paths of its own."""

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox import control, faults
from sandbox.compute import firewalls, groups, instances, operations, places, rights, subnetworks, templates
from sandbox.errors import ApiError, answer_api_error, answer_bad_request, answer_no_route
from sandbox.logging import entries
from sandbox.metadata import metadata_app
from sandbox.provisioning import (
    accounts,
    identity_pools,
    images,
    long_running,
    projects,
    repositories,
    roles,
    secret_manager,
    services,
)
from sandbox.routing import EncodedPath
from sandbox.storage import buckets, objects, uploads
from sandbox.world import World

COMPUTE = (places, instances, operations, firewalls, subnetworks, templates, groups)
PROVISIONING = (
    *(accounts, roles, identity_pools, long_running, projects, repositories, secret_manager, services),
)


def cloud(world: World) -> ASGIApp:
    """Compute Engine, Cloud Storage and the rest, with what only the sandbox has under `/sandbox`."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.world = world
    app.add_exception_handler(ApiError, answer_api_error)
    app.add_exception_handler(HTTPException, answer_no_route)
    app.add_exception_handler(RequestValidationError, answer_bad_request)
    for part in COMPUTE:
        app.include_router(part.router, prefix="/compute/v1", dependencies=[Depends(rights.check)])
    app.include_router(buckets.router, prefix="/storage/v1")
    app.include_router(objects.router, prefix="/storage/v1")
    app.include_router(objects.downloads, prefix="/download/storage/v1")
    for prefix in ("/upload/storage/v1", "/resumable/upload/storage/v1"):  # gcloud
        app.include_router(uploads.router, prefix=prefix)
    app.include_router(entries.router)
    for other in PROVISIONING:
        app.include_router(other.router)
    app.include_router(images.router)  # after Cloud Logging, which has paths under /v2, too
    app.include_router(faults.router)
    app.include_router(control.router)
    return EncodedPath(app)


def metadata(world: World, apis: ASGIApp) -> ASGIApp:
    """The VMs' metadata servers; at the addresses that containers reach, the APIs as well."""
    server = metadata_app(world)

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        inside = scope["server"][0] == world.network.inside and scope["path"] != "/"
        app = apis if inside and not scope["path"].startswith("/computeMetadata/") else server
        await app(scope, receive, send)

    return faults.Faulty(either, world)
