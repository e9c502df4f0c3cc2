"""The change log in MongoDB.

Entries of a partition are numbered without a gap by the replica that owns it, and a number is taken by inserting: who
has read up to a number has missed nothing, even while two replicas believe to be the owner.
"""

from datetime import datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from pymongo.errors import BulkWriteError

from plumbline_score_api.changes.changes import Change

Document = dict[str, Any]
DUPLICATE_KEY = 11000
ATTEMPTS = 20


class BusyLogError(Exception):
    """Others wrote to the partition at every attempt."""


class ChangeLogRepository:
    """The collection `changes`. The tenants share the numbers of a partition, and read only their own entries."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._changes = database["changes"]

    async def prepare(self) -> None:
        """Create the indexes; does nothing when they are there."""
        await self._changes.create_index([("event", 1)], unique=True)
        await self._changes.create_index([("partition", 1), ("number", 1)])
        await self._changes.create_index([("tenant", 1), ("partition", 1), ("number", 1)])
        await self._changes.create_index([("at", 1)])

    async def append(self, tenant: str, partition: int, changes: list[Change]) -> None:
        """Add entries in their order; adding one again changes nothing. Raises BusyLogError."""
        for _ in range(ATTEMPTS):
            names = [f"{tenant}/{change.event_id}" for change in changes]
            known = {d["event"] async for d in self._changes.find({"event": {"$in": names}}, {"event": 1})}
            missing = [change for change, name in zip(changes, names, strict=True) if name not in known]
            if not missing:
                return
            first = await self._last(partition) + 1
            documents = [_document(tenant, partition, number, c) for number, c in enumerate(missing, start=first)]
            try:
                await self._changes.insert_many(documents, ordered=True)
            except BulkWriteError as error:
                if any(write["code"] != DUPLICATE_KEY for write in error.details["writeErrors"]):
                    raise
            else:
                return
        raise BusyLogError(f"the change log of partition {partition} is written by others at every attempt")

    async def since(self, tenant: str, partition: int, number: int, limit: int) -> list[tuple[int, Change]]:
        """The tenant's entries of a partition behind a number, in order."""
        query = {"tenant": tenant, "partition": partition, "number": {"$gt": number}}
        found = self._changes.find(query).sort("number", 1).limit(limit)
        return [(document["number"], Change.model_validate_json(document["body"])) async for document in found]

    async def of_all(self, partition: int, number: int, limit: int) -> list[tuple[int, str, Change]]:
        """Number, tenant and entry of a partition behind a number, in order: all tenants', for the projector alone."""
        query = {"partition": partition, "number": {"$gt": number}}
        found = self._changes.find(query).sort("number", 1).limit(limit)
        return [(d["number"], d["tenant"], Change.model_validate_json(d["body"])) async for d in found]

    async def heads(self) -> dict[int, int]:
        """The highest number of every partition that has entries; they say nothing of a tenant."""
        return {partition: await self._last(partition) for partition in await self._changes.distinct("partition")}

    async def prune(self, before: datetime) -> None:
        """Delete old entries of all tenants, but never the last of a partition: its number goes on."""
        partitions = await self._changes.distinct("partition", {"at": {"$lt": before}})
        for partition in partitions:
            last = await self._last(partition)
            await self._changes.delete_many({"partition": partition, "number": {"$lt": last}, "at": {"$lt": before}})

    async def _last(self, partition: int) -> int:
        """The highest number of a partition; 0 when it is empty."""
        found = self._changes.find({"partition": partition}, {"number": 1}).sort("number", -1).limit(1)
        return max([document["number"] async for document in found], default=0)


def _document(tenant: str, partition: int, number: int, change: Change) -> Document:
    return {
        "_id": f"{partition}/{number}",
        "tenant": tenant,
        "partition": partition,
        "number": number,
        "event": f"{tenant}/{change.event_id}",
        "kind": change.kind.value,
        "at": change.at,
        "body": change.model_dump_json(),
    }
