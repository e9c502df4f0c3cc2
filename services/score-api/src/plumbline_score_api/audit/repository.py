"""The audit trail in MongoDB."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from pymongo import UpdateOne

from plumbline_score_api.audit.schemas import AuditEntry

Document = dict[str, Any]


class AuditRepository:
    """The collection `audit`: entries are added and never changed."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._audit = database["audit"]

    async def prepare(self) -> None:
        """Create the indexes; does nothing when they are there."""
        await self._audit.create_index([("tenant", 1), ("order", -1)])

    async def add(self, tenant: str, entries: Iterable[AuditEntry]) -> None:
        """Keep entries; keeping one again changes nothing."""
        changes = [
            UpdateOne({"_id": f"{tenant}/{entry.entry_id}"}, {"$setOnInsert": _document(tenant, entry)}, upsert=True)
            for entry in entries
        ]
        if changes:
            await self._audit.bulk_write(changes, ordered=False)

    async def page(
        self,
        tenant: str,
        filters: dict[str, list[str]],
        since: datetime | None,
        until: datetime | None,
        after: str | None,
        limit: int,
    ) -> list[tuple[str, AuditEntry]]:
        """Entries with their place in the order, the newest first, those behind `after`."""
        query: Document = {"tenant": tenant, **{name: {"$in": values} for name, values in filters.items() if values}}
        moments = {"$gte": since} if since else {}
        if moments | ({"$lt": until} if until else {}):
            query["at"] = moments | ({"$lt": until} if until else {})
        if after is not None:
            query["order"] = {"$lt": after}
        found = self._audit.find(query).sort("order", -1).limit(limit)
        return [(document["order"], AuditEntry.model_validate_json(document["body"])) async for document in found]


def _document(tenant: str, entry: AuditEntry) -> Document:
    return {
        "tenant": tenant,
        "order": f"{entry.at.isoformat(timespec='microseconds')}/{entry.entry_id}",
        "at": entry.at,
        "action": entry.action.value,
        "instance": entry.instance,
        "control_id": entry.control_id,
        "who": entry.who,
        "body": entry.model_dump_json(),
    }
