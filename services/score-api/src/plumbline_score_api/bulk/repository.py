"""Bulk writes, for the repositories: they are given a collection and know of no tenant."""

from typing import Any, TypeAlias

from motor.motor_asyncio import AsyncIOMotorCollection
from pymongo import ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError

WRITES_AT_ONCE = 100
DUPLICATE_KEY = 11000
Collection: TypeAlias = "AsyncIOMotorCollection[dict[str, Any]]"


async def replace(collection: Collection, documents: list[dict[str, Any]]) -> None:
    """Write whole documents by `_id`, a bounded number at a time."""
    for start in range(0, len(documents), WRITES_AT_ONCE):
        some = documents[start : start + WRITES_AT_ONCE]
        await collection.bulk_write([ReplaceOne({"_id": d["_id"]}, d, upsert=True) for d in some], ordered=False)


async def unless_newer(collection: Collection, changes: list[UpdateOne]) -> None:
    """Apply guarded upserts. A duplicate `_id` says that something newer is there, which is as good."""
    try:
        await collection.bulk_write(changes, ordered=False)
    except BulkWriteError as error:
        if any(write["code"] != DUPLICATE_KEY for write in error.details["writeErrors"]):
            raise
