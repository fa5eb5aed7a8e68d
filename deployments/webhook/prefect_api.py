"""What the receiver asks of Prefect: the rules and secrets in its blocks, and flow runs."""

import asyncio
import random
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

from blocks.pushed_runs import deployment_of, parameters_of, tags_of_start
from deployments.webhook.order import Order
from releases.trigger import Rule, WatchedServices

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.2
LONGEST_REASON = 150
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
    except PrefectHTTPStatusError as error:
        if error.response.status_code != HTTPStatus.NOT_FOUND:
            raise
        return ()  # the type comes with the first of them
    return tuple(
        Rule(
            environment=document.name or "",
            branch=document.data.get("branch") or "",
            services=tuple(_SERVICES.validate_python(document.data.get("services") or [])),
            tags=document.data.get("tags") or "",
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
    """Stores flow runs, many in one transaction."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._deployments: dict[str, UUID] = {}

    async def __call__(self, orders: Sequence[Order]) -> list[UUID | str]:
        """For each order the run's id, or why Prefect refused it.

        SQLite refuses at once where another writer came between; asking again is safe, the key sees to it.
        """
        results = await self._create(orders)
        pause = FIRST_PAUSE
        while again := [at for at, result in enumerate(results) if _was_locked(result)]:
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause = min(pause * 2, LONGEST_PAUSE)
            fresh = await self._create([orders[at] for at in again])
            for at, result in zip(again, fresh, strict=True):
                results[at] = result
        return results

    async def _create(self, orders: Sequence[Order]) -> list[UUID | str]:
        """One request for each deployment, the results in the order of the orders."""
        results: dict[int, UUID | str] = {}
        for name in sorted({deployment_of(order.start) for order in orders}):
            mine = [at for at, order in enumerate(orders) if deployment_of(order.start) == name]
            try:
                found = await self._create_in_deployment(name, [orders[at] for at in mine])
            except ObjectNotFound:  # which is no reason to keep the others
                found = [f"Prefect knows no deployment {name}; next: model-deploy up --no-start"] * len(mine)
            results |= dict(zip(mine, found, strict=True))
        return [results[at] for at in range(len(orders))]

    async def _create_in_deployment(self, name: str, orders: Sequence[Order]) -> list[UUID | str]:
        try:
            return await self._create_in(await self._id_of(name), orders)
        except PrefectHTTPStatusError as error:
            if error.response.status_code != HTTPStatus.NOT_FOUND:
                raise
            self._deployments.pop(name)  # it was deleted and registered anew
            return await self._create_in(await self._id_of(name), orders)

    async def _id_of(self, name: str) -> UUID:
        if name not in self._deployments:
            self._deployments[name] = (await self._client.read_deployment_by_name(name)).id
        return self._deployments[name]

    async def _create_in(self, deployment: UUID, orders: Sequence[Order]) -> list[UUID | str]:
        answer = await self._client.request(
            "POST",
            "/deployments/{id}/create_flow_run/bulk",  # type: ignore[arg-type] # newer than the list of routes
            path_params={"id": deployment},
            json=[_flow_run(order) for order in orders],
        )
        return [
            UUID(one["flow_run_id"]) if one.get("flow_run_id") else _refusal(one.get("error") or "no reason")
            for one in answer.json()["results"]
        ]


def _refusal(error: str) -> str:
    """For the answer, which GitHub shows: never the whole statement with its values."""
    return f"Prefect refuses the run: {error.splitlines()[0][:LONGEST_REASON]}"


def _was_locked(result: UUID | str) -> bool:
    return isinstance(result, str) and "lock" in result.lower()


def _flow_run(order: Order) -> dict[str, Any]:
    run = DeploymentFlowRunCreate(
        state=to_state_create(Scheduled()),
        parameters=parameters_of(order.start),
        tags=[*tags_of_start(order.start), f"delivery:{order.delivery}"],
        idempotency_key=order.key,
    )
    return run.model_dump(mode="json", exclude_unset=True)
