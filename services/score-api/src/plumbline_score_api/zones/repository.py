"""Zone limits in MongoDB: one document per tenant, in which the audit entries of a change wait."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from pymongo.errors import DuplicateKeyError

from plumbline_score_api.audit.schemas import AuditEntry
from plumbline_score_api.zones.schemas import Chosen

Document = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What a tenant has set; `chosen` None says nothing, or nothing any more."""

    revision: int = 0
    chosen: Chosen | None = None
    outbox: tuple[AuditEntry, ...] = ()


class ZoneRepository:
    """The collection `zones`."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._zones = database["zones"]

    async def prepare(self) -> None:
        """Create the indexes; does nothing when they are there."""
        await self._zones.create_index([("is_pending", 1)])

    async def read(self, tenant: str) -> Setting:
        """What the tenant has set."""
        document = await self._zones.find_one({"_id": tenant, "tenant": tenant})
        if document is None:
            return Setting()
        return Setting(
            revision=document["revision"],
            chosen=Chosen.model_validate_json(document["chosen"]) if document["chosen"] else None,
            outbox=tuple(AuditEntry.model_validate_json(body) for body in document["outbox"]),
        )

    async def replace(self, tenant: str, known: Setting, chosen: Chosen | None, news: Iterable[AuditEntry]) -> bool:
        """Write a choice with its audit entries if nobody did since `known`; whether it was done."""
        fields = {
            "tenant": tenant,
            "revision": known.revision + 1,
            "chosen": chosen.model_dump_json() if chosen is not None else None,
            "outbox": [entry.model_dump_json() for entry in (*known.outbox, *news)],
            "is_pending": True,
        }
        then = {"revision": known.revision} if known.revision else {"revision": {"$exists": False}}
        try:
            done = await self._zones.update_one({"_id": tenant, **then}, {"$set": fields}, upsert=not known.revision)
        except DuplicateKeyError:
            return False
        return bool(done.matched_count or done.upserted_id)

    async def told(self, tenant: str, revision: int) -> None:
        """Empty the outbox, whose entries are in the audit trail, unless more came meanwhile."""
        mine = {"_id": tenant, "tenant": tenant, "revision": revision}
        await self._zones.update_one(mine, {"$set": {"outbox": [], "is_pending": False}})

    async def pending(self) -> list[str]:
        """The tenants whose outbox is not empty: for the projector alone."""
        return [document["tenant"] async for document in self._zones.find({"is_pending": True}, {"tenant": 1})]
