"""Findings and their exposed entities in MongoDB, as readers see them."""

from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase

Document = dict[str, Any]


class RecommendationRepository:
    """The collections `findings` and `exposed`, read only."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._findings, self._exposed = database["findings"], database["exposed"]

    async def find(self, tenant: str, instance: str, evaluation: str, control_id: str) -> Document | None:
        """The finding of a control in an evaluation."""
        return await self._findings.find_one(
            {"_id": f"{tenant}/{instance}/{evaluation}/{control_id}", "tenant": tenant}
        )

    async def exposed(
        self, tenant: str, instance: str, evaluation: str, control_id: str, number: int
    ) -> Document | None:
        """One document of exposed entities; they are numbered from 0."""
        identity = f"{tenant}/{instance}/{evaluation}/{control_id}/{number}"
        return await self._exposed.find_one({"_id": identity, "tenant": tenant})
