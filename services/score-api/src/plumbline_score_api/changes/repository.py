"""The change log in MongoDB.

Entries of a partition are numbered without a gap by the replica that owns it, and a number is taken by inserting: who
has read up to a number has missed nothing, even while two replicas believe to be the owner. What retention deletes is
the beginning of a partition, and how far that goes is written down first: nobody takes a shorter log for a whole one.
"""

import asyncio
import contextlib
import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from motor.motor_asyncio import AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import ReadPreference
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.read_concern import ReadConcern

from plumbline_score_api.bulk.repository import DUPLICATE_KEY
from plumbline_score_api.changes.changes import Change, ChangeKind

Document = dict[str, Any]
Collection: TypeAlias = "AsyncIOMotorCollection[Document]"
Position = Mapping[int, int]
"""Partition to the number of an entry. A partition that is not there stands at 0, before its first entry."""
End: TypeAlias = tuple[int, datetime]
"""The number of a partition's last entry, and when that was written."""
ATTEMPTS = 20
PAUSE_SECONDS = 0.01
KEY_BYTES = 64
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class BusyLogError(Exception):
    """Others wrote to the partition at every attempt."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry with its place. `body` is the change as it was written, as JSON."""

    tenant: str
    partition: int
    number: int
    change: Change
    body: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """Entries up to `number`, the last of which was written at `written_at`, are deleted."""

    number: int
    written_at: datetime


class ChangeLogRepository:
    """The collections `changes` and `change_log`.

    The tenants share the numbers of a partition, and read only their own entries.
    """

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._changes, self._log = database["changes"], database["change_log"]
        self._turns: dict[int, asyncio.Lock] = {}
        self._ends: dict[int, End] = {}
        """Where this process saw partitions end: if others have written since, the numbers are taken and it looks."""

    async def prepare(self) -> None:
        """Create the indexes and the key; does nothing when they are there."""
        await self._changes.create_index([("event", 1)], unique=True)
        await self._changes.create_index([("partition", 1), ("number", 1)])
        await self._changes.create_index([("tenant", 1), ("partition", 1), ("number", 1)])
        await self._changes.create_index([("partition", 1), ("written_at", 1), ("number", 1)])
        with contextlib.suppress(DuplicateKeyError):
            key = {"$setOnInsert": {"key": secrets.token_bytes(KEY_BYTES)}}
            await self._log.update_one({"_id": "key"}, key, upsert=True)

    async def key(self) -> bytes:
        """A secret of this log, the same for all replicas."""
        found = await self._log.find_one({"_id": "key"})
        if found is None:
            raise LookupError("the change log has no key: its indexes were never created")
        return bytes(found["key"])

    async def append(self, tenant: str, partition: int, changes: list[Change]) -> None:
        """Add entries in their order; adding one again changes nothing. Raises BusyLogError."""
        if not changes:
            return
        async with self._turns.setdefault(partition, asyncio.Lock()):
            end = self._ends.get(partition)
            if end is None or not await self._insert(tenant, partition, changes, end):
                await self._append_anew(tenant, partition, changes)

    async def _append_anew(self, tenant: str, partition: int, changes: list[Change]) -> None:
        """Add those entries that are not there, behind what is there now."""
        names = {f"{tenant}/{change.event_id}": change for change in changes}
        for attempt in range(ATTEMPTS):
            await asyncio.sleep(random.uniform(0, PAUSE_SECONDS * attempt))  # noqa: S311  # so that one of two is first
            found = self._changes.find({"event": {"$in": list(names)}}, {"event": 1})
            known = {document["event"] async for document in found}
            missing = [change for name, change in names.items() if name not in known]
            end = await _last(self._changes, partition)
            self._ends[partition] = end
            if not missing or await self._insert(tenant, partition, missing, end):
                return
        raise BusyLogError(f"the change log of partition {partition} is written by others at every attempt")

    async def _insert(self, tenant: str, partition: int, changes: list[Change], end: End) -> bool:
        """Add entries behind the end of a partition; False when they are there, or others stand in their places."""
        last, at = end
        written_at = max(datetime.now(UTC), at)  # clocks of replicas differ, and the log's time never goes back
        numbered = enumerate(changes, start=last + 1)
        documents = [_document(tenant, partition, number, change, written_at) for number, change in numbered]
        try:
            await self._changes.insert_many(documents, ordered=True)
        except BulkWriteError as error:
            if any(write["code"] != DUPLICATE_KEY for write in error.details["writeErrors"]):
                raise
            return False
        self._ends[partition] = last + len(documents), written_at
        return True

    async def since(self, tenant: str, partition: int, number: int, limit: int) -> list[tuple[int, Change]]:
        """The tenant's entries of a partition behind a number, in order."""
        query = {"tenant": tenant, "partition": partition, "number": {"$gt": number}}
        found = self._changes.find(query).sort("number", 1).limit(limit)
        return [(document["number"], Change.model_validate_json(document["body"])) async for document in found]

    async def of_all(self, partition: int, number: int, limit: int) -> list[tuple[int, str, Change]]:
        """Number, tenant and entry of a partition behind a number, in order: all tenants', for the projector alone."""
        query = {"partition": partition, "number": {"$gt": number}}
        found = self._lasting().find(query).sort("number", 1).limit(limit)
        return [(d["number"], d["tenant"], Change.model_validate_json(d["body"])) async for d in found]

    async def between(self, tenant: str, partition: int, after: int, last: int, limit: int) -> list[Entry]:
        """The tenant's entries of a partition behind the number `after` up to the number `last`, in order."""
        query = {"tenant": tenant, "partition": partition, "number": {"$gt": after, "$lte": last}}
        found = self._lasting().find(query).sort("number", 1).limit(limit)
        return [_entry(document) async for document in found]

    async def of_kind(
        self, tenant: str, partition: int, kind: ChangeKind, after: int, last: int, limit: int
    ) -> list[tuple[int, Change]]:
        """The tenant's entries of a kind in a partition behind the number `after` up to `last`, in order."""
        query = {"tenant": tenant, "partition": partition, "number": {"$gt": after, "$lte": last}, "kind": kind.value}
        found = self._lasting().find(query).sort("number", 1).limit(limit)
        return [(document["number"], Change.model_validate_json(document["body"])) async for document in found]

    async def after(self, position: Position, limit: int) -> list[Entry]:
        """The entries of all tenants behind a position, those of a partition in order: for one reader per replica."""
        known = [{"partition": partition, "number": {"$gt": number}} for partition, number in sorted(position.items())]
        query = {"$or": [*known, {"partition": {"$nin": sorted(position)}}]}
        found = self._lasting().find(query).sort([("partition", 1), ("number", 1)]).limit(limit)
        return [_entry(document) async for document in found]

    async def heads(self) -> dict[int, int]:
        """Where the log ends now: partition to its last number."""
        entries = self._lasting()
        partitions = await entries.distinct("partition")
        return {partition: (await _last(entries, partition))[0] for partition in sorted(partitions)}

    async def first(self, partition: int, moment: datetime) -> int | None:
        """The number of the first entry of a partition, of any tenant, that was written at a moment or later."""
        query = {"partition": partition, "written_at": {"$gte": moment}}
        order = [("written_at", 1), ("number", 1)]
        found = self._lasting().find(query, {"number": 1}).sort(order).limit(1)
        return next(iter([document["number"] async for document in found]), None)

    async def deleted(self) -> dict[int, Deleted]:
        """What retention has deleted of each partition; written down before it is deleted."""
        found = self._log.find({"partition": {"$exists": True}})
        return {d["partition"]: Deleted(d["number"], d["written_at"]) async for d in found}

    async def prune(self, before: datetime) -> None:
        """Delete old entries of all tenants, but never the last of a partition: its number goes on."""
        for partition, last in (await self.heads()).items():
            old = {"partition": partition, "written_at": {"$lt": before}, "number": {"$lt": last}}
            order = [("written_at", -1), ("number", -1)]
            found = self._changes.find(old, {"number": 1, "written_at": 1}).sort(order).limit(1)
            async for document in found:
                await self._delete(partition, Deleted(document["number"], document["written_at"]))

    async def _delete(self, partition: int, end: Deleted) -> None:
        """Delete the beginning of a partition."""
        not_further = {"_id": f"deleted/{partition}", "number": {"$not": {"$gt": end.number}}}
        fields = {"partition": partition, "number": end.number, "written_at": end.written_at}
        with contextlib.suppress(DuplicateKeyError):
            await self._log.update_one(not_further, {"$set": fields}, upsert=True)
        await self._changes.delete_many({"partition": partition, "number": {"$lte": end.number}})

    def _lasting(self) -> Collection:
        """The entries that no failover takes back: a reader must not have seen a number that is given again."""
        primary: Any = ReadPreference.PRIMARY
        return self._changes.with_options(read_concern=ReadConcern("majority"), read_preference=primary)


async def _last(entries: Collection, partition: int) -> End:
    """The highest number of a partition, and when it was written; 0 when it is empty."""
    found = entries.find({"partition": partition}, {"number": 1, "written_at": 1})
    last = [document async for document in found.sort("number", -1).limit(1)]
    return (last[0]["number"], last[0].get("written_at", BEGINNING)) if last else (0, BEGINNING)


def _document(tenant: str, partition: int, number: int, change: Change, written_at: datetime) -> Document:
    return {
        "_id": f"{partition}/{number}",
        "tenant": tenant,
        "partition": partition,
        "number": number,
        "event": f"{tenant}/{change.event_id}",
        "kind": change.kind.value,
        "written_at": written_at,
        "body": change.model_dump_json(),
    }


def _entry(document: Document) -> Entry:
    body = document["body"]
    return Entry(document["tenant"], document["partition"], document["number"], Change.model_validate_json(body), body)
