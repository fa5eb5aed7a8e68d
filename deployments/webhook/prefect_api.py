"""What the receiver asks of Prefect: the rules and secrets in its blocks, and flow runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentFlowRunCreate
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Scheduled, to_state_create
from pydantic import TypeAdapter

from deployments.webhook.queue import Order
from releases.trigger import Rule, WatchedServices

RELEASE = "release/release"  # flow and deployment, see prefect.yaml
ENVIRONMENT_BLOCK = "environment"
GITHUB_BLOCK = ("github-connection", "github")
_SERVICES: TypeAdapter[Any] = TypeAdapter(WatchedServices)


@dataclass(frozen=True)
class Setup:
    """What pushes start, and what they must be signed with."""

    rules: tuple[Rule, ...]
    secrets: tuple[str, ...]


async def read_setup(client: PrefectClient) -> Setup:
    """Read the blocks. They are read as data: the receiver needs no engine, no cloud client."""
    return Setup(await _rules(client), await _secrets(client))


async def _rules(client: PrefectClient) -> tuple[Rule, ...]:
    try:
        documents = await client.read_block_documents_by_type(ENVIRONMENT_BLOCK, include_secrets=False)
    except ObjectNotFound:
        return ()
    return tuple(
        Rule(
            environment=document.name or "",
            branch=document.data.get("branch") or "",
            services=tuple(_SERVICES.validate_python(document.data.get("services") or [])),
        )
        for document in documents
    )


async def _secrets(client: PrefectClient) -> tuple[str, ...]:
    slug, name = GITHUB_BLOCK
    try:
        document = await client.read_block_document_by_name(name, slug, include_secrets=True)
    except ObjectNotFound:
        return ()
    both = (document.data.get("webhook_secret"), document.data.get("former_webhook_secret"))
    return tuple(str(secret) for secret in both if secret)


class RunStore:
    """Stores flow runs of the release deployment, many in one transaction."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._deployment: UUID | None = None

    async def __call__(self, orders: Sequence[Order]) -> list[UUID | str]:
        """For each order the run's id, or why Prefect refused it."""
        try:
            return await self._create(orders)
        except PrefectHTTPStatusError as error:
            if error.response.status_code != HTTPStatus.NOT_FOUND or self._deployment is None:
                raise
            self._deployment = None  # it was deleted and registered anew
            return await self._create(orders)

    async def _create(self, orders: Sequence[Order]) -> list[UUID | str]:
        if self._deployment is None:
            self._deployment = (await self._client.read_deployment_by_name(RELEASE)).id
        answer = await self._client.request(
            "POST",
            "/deployments/{id}/create_flow_run/bulk",  # type: ignore[arg-type] # newer than the list of routes
            path_params={"id": self._deployment},
            json=[_flow_run(order) for order in orders],
        )
        return [
            UUID(one["flow_run_id"]) if one.get("flow_run_id") else f"Prefect refuses the run: {one['error']}"
            for one in answer.json()["results"]
        ]


def _flow_run(order: Order) -> dict[str, Any]:
    start = order.start
    parameters = {
        "source": start.source,
        "ref": start.ref,
        "path": start.path,
        "environment": start.environment,
    }
    tags = [
        f"service:{start.service}",
        f"environment:{start.environment}",
        f"branch:{start.branch}",
        f"delivery:{order.delivery}",
    ]
    run = DeploymentFlowRunCreate(
        state=to_state_create(Scheduled()), parameters=parameters, tags=tags, idempotency_key=order.key
    )
    return run.model_dump(mode="json", exclude_unset=True)
