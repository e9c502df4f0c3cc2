"""What former days are made of, in MongoDB: records of instances and points of many scopes at once."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase

from plumbline_score_api.history.changing import STATES, Point, State, instance_scope

Document = dict[str, Any]
AT_ONCE = 100
_RECORD = {"scope": 1, "seq": 1, "states": 1, "outbox": 1}


class PastRepository:
    """The collections `history` and `records`, read only."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._history, self._records = database["history"], database["records"]

    async def states(
        self, tenant: str, instances: Iterable[str]
    ) -> dict[str, tuple[int, dict[str, State], Point | None]]:
        """Instance to the number of its last point, what stood then, and that point while it is not told."""
        names = [f"{tenant}/{instance_scope(instance)}" for instance in instances]
        found = {}
        for start in range(0, len(names), AT_ONCE):
            query = {"_id": {"$in": names[start : start + AT_ONCE]}, "tenant": tenant}
            async for document in self._records.find(query, _RECORD):
                outbox = Point.model_validate_json(document["outbox"]) if document["outbox"] else None
                name = document["scope"].removeprefix("instance:")
                found[name] = (document["seq"], STATES.validate_json(document["states"]), outbox)
        return found

    async def points(self, tenant: str, instances: Iterable[str], since: datetime, until: datetime) -> list[Point]:
        """The points of instances from a moment on and up to another, in no order."""
        scopes = [instance_scope(instance) for instance in instances]
        found: list[Point] = []
        for start in range(0, len(scopes), AT_ONCE):
            query = {
                "tenant": tenant,
                "scope": {"$in": scopes[start : start + AT_ONCE]},
                "at": {"$gte": since, "$lte": until},
            }
            found += [Point.model_validate_json(document["body"]) async for document in self._history.find(query)]
        return found
