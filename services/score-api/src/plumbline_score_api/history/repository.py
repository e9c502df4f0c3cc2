"""Points of the score history in MongoDB."""

from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase


class HistoryRepository:
    """The collection `history`: one document per evaluation that changed an instance's score."""

    def __init__(self, database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
        self._history = database["history"]

    async def prepare(self) -> None:
        """Create the index; does nothing when it is there."""
        await self._history.create_index([("tenant", 1), ("instance", 1), ("at", 1)])

    async def add(self, tenant: str, instance: str, product: str, current: dict[str, Any]) -> None:
        """Keep a point; keeping it again changes nothing."""
        identity = f"{tenant}/{instance}/{current['key']}"
        document = {
            "_id": identity,
            "tenant": tenant,
            "instance": instance,
            "product": product,
            "at": current["started_at"],
            "score": current["score"],
            "outcomes": current["outcomes"],
        }
        await self._history.replace_one({"_id": identity}, document, upsert=True)
