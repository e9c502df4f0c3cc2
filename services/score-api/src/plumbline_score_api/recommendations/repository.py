"""Findings in MongoDB, as readers see them: always those of the current evaluations."""

from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase

Document = dict[str, Any]


class RecommendationRepository:
    """The collections `findings` and `exposed`, read only. `evaluations` are the current ones of some instances."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._findings, self._exposed = database["findings"], database["exposed"]

    async def page(
        self, tenant: str, evaluations: list[str], filters: dict[str, list[str]], after: str | None, limit: int
    ) -> list[Document]:
        """Findings by rank, those behind `after`."""
        query = self._query(tenant, evaluations, filters)
        if after is not None:
            query["rank_key"] = {"$gt": after}
        return [d async for d in self._findings.find(query).sort("rank_key", 1).limit(limit)]

    async def count(
        self, tenant: str, evaluations: list[str], filters: dict[str, list[str]], up_to: str | None = None
    ) -> int:
        """How many match, or how many of them rank up to `up_to`."""
        query = self._query(tenant, evaluations, filters)
        if up_to is not None:
            query["rank_key"] = {"$lte": up_to}
        return await self._findings.count_documents(query)

    async def find(self, tenant: str, evaluation: str, control: str) -> Document | None:
        """A finding by control id or alias."""
        mine = {"tenant": tenant, "evaluation": evaluation}
        found = await self._findings.find_one({**mine, "control_id": control})
        return found or await self._findings.find_one({**mine, "aliases": control})

    async def same_control(self, tenant: str, current: dict[str, str], control_id: str) -> list[Document]:
        """The findings of a control on all instances; `current` is instance to current evaluation."""
        identities = [f"{tenant}/{instance}/{key}/{control_id}" for instance, key in current.items()]
        query = {"_id": {"$in": identities}, "tenant": tenant}
        return [document async for document in self._findings.find(query).sort("instance", 1)]

    async def exposed(self, tenant: str, evaluation: str, control_id: str, number: int) -> Document | None:
        """One document of exposed entities; they are numbered from 0."""
        query = {"tenant": tenant, "evaluation": evaluation, "control_id": control_id, "number": number}
        return await self._exposed.find_one(query)

    @staticmethod
    def _query(tenant: str, evaluations: list[str], filters: dict[str, list[str]]) -> Document:
        chosen = {name: {"$in": values} for name, values in filters.items() if values}
        return {"tenant": tenant, "evaluation": {"$in": evaluations}, **chosen}
