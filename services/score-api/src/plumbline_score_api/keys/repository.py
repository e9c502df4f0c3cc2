"""Keys in MongoDB."""

from datetime import datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase

from plumbline_score_api.keys.schemas import ApiKey


class KeyRepository:
    """The collection `keys`."""

    def __init__(self, database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
        self._keys = database["keys"]

    async def prepare(self) -> None:
        """Create the index; does nothing when it is there."""
        await self._keys.create_index([("tenant", 1), ("created_at", -1), ("_id", -1)])

    async def find(self, key_id: str) -> ApiKey | None:
        """The key of this id, whatever its tenant: the tenant comes from the key."""
        document = await self._keys.find_one({"_id": key_id})
        return _key(document) if document else None

    async def insert(self, tenant: str, key: ApiKey) -> None:
        """Keep a new key."""
        stored = {"roles": sorted(key.roles), "restriction": _stored(key)}
        document = key.model_dump(mode="python") | {"_id": key.key_id, "tenant": tenant} | stored
        await self._keys.insert_one(document)

    async def page(self, tenant: str, after: tuple[datetime, str] | None, limit: int) -> list[ApiKey]:
        """The tenant's keys, the newest first, those behind the creation time and id of `after`."""
        query: dict[str, Any] = {"tenant": tenant}
        if after is not None:
            at, key_id = after
            query["$or"] = [{"created_at": {"$lt": at}}, {"created_at": at, "_id": {"$lt": key_id}}]
        found = self._keys.find(query).sort([("created_at", -1), ("_id", -1)]).limit(limit)
        return [_key(document) async for document in found]

    async def count_active(self, tenant: str, now: datetime) -> int:
        """How many of the tenant's keys open something at `now`."""
        lasting = [{"expires_at": None}, {"expires_at": {"$gt": now}}]
        return await self._keys.count_documents({"tenant": tenant, "revoked_at": None, "$or": lasting})

    async def list(self, tenant: str) -> list[ApiKey]:
        """The tenant's keys, oldest first."""
        return [_key(document) async for document in self._keys.find({"tenant": tenant}).sort("created_at", 1)]

    async def revoke(self, tenant: str, key_id: str, now: datetime, revoked_by: str) -> ApiKey | None:
        """End a key, which keeps the moment and the author of its first end. The key, None when there is none."""
        mine = {"_id": key_id, "tenant": tenant}
        end = {"revoked_at": now, "revoked_by": revoked_by}
        await self._keys.update_one({**mine, "revoked_at": None}, {"$set": end})
        document = await self._keys.find_one(mine)
        return _key(document) if document else None

    async def used(self, tenant: str, key_id: str, at: datetime) -> None:
        """Keep when a key was last used; an earlier moment changes nothing."""
        earlier = [{"last_used_at": None}, {"last_used_at": {"$lt": at}}]
        mine = {"_id": key_id, "tenant": tenant, "$or": earlier}
        await self._keys.update_one(mine, {"$set": {"last_used_at": at}})


def _stored(key: ApiKey) -> dict[str, Any] | None:
    return key.restriction.model_dump(mode="json") if key.restriction is not None else None


def _key(document: dict[str, Any]) -> ApiKey:
    return ApiKey.model_validate({name: value for name, value in document.items() if name != "_id"})
