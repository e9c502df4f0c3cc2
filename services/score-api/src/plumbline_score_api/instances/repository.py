"""Instances and insights in MongoDB, as readers see them."""

from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from plumbline_contracts.events import Insights, Product
from pymongo.errors import DuplicateKeyError

Document = dict[str, Any]
_SCORE = {"instance": 1, "product": 1, "current.key": 1, "current.score": 1, "current.evaluated_at": 1}
_LIGHT = {"current.datasets": 0, "current.audit_entries": 0}


class InstanceRepository:
    """The collection `instances`, read only."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._instances = database["instances"]

    async def scores(self, tenant: str, product: Product | None = None) -> list[Document]:
        """The tenant's instances by name, with their current evaluation's score and nothing else."""
        query: Document = {"tenant": tenant} | ({"product": product.value} if product else {})
        return [document async for document in self._instances.find(query, _SCORE).sort("_id", 1)]

    async def list(self, tenant: str) -> list[Document]:
        """The tenant's instances by name, with score and status."""
        return [document async for document in self._instances.find({"tenant": tenant}, _LIGHT).sort("_id", 1)]

    async def find(self, tenant: str, instance: str) -> Document | None:
        """One instance of the tenant, with the audit entries of its current evaluation."""
        identity = {"_id": f"{tenant}/{instance}", "tenant": tenant}
        return await self._instances.find_one(identity, {"current.datasets": 0})


class InsightsRepository:
    """The collection `insights`: one document per tenant and product, so that `main` moves in one step."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._insights = database["insights"]

    async def read(self, tenant: str, product: Product) -> tuple[int, list[Document]]:
        """The revision and the choices: instance, insights, and whether a person chose."""
        document = await self._insights.find_one({"_id": f"{tenant}/{product.value}", "tenant": tenant})
        return (document["revision"], document["choices"]) if document else (0, [])

    async def replace(self, tenant: str, product: Product, revision: int, choices: list[Document]) -> bool:
        """Write the choices if nobody did since `revision`; whether it was done."""
        identity = f"{tenant}/{product.value}"
        change = {"$set": {"tenant": tenant, "product": product.value, "choices": choices, "revision": revision + 1}}
        try:
            done = await self._insights.update_one(
                {"_id": identity, "revision": revision}
                if revision
                else {"_id": identity, "revision": {"$exists": False}},
                change,
                upsert=not revision,
            )
        except DuplicateKeyError:
            return False
        return bool(done.matched_count or done.upserted_id)


def choices_of(entries: list[Document]) -> dict[str, Insights]:
    """Instance to insights."""
    return {entry["instance"]: Insights(entry["insights"]) for entry in entries}
