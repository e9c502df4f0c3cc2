"""Keys in MongoDB."""

from datetime import datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase

from plumbline_score_api.keys.schemas import ApiKey


class KeyRepository:
    """The collection `keys`."""

    def __init__(self, database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
        self._keys = database["keys"]

    async def find(self, key_id: str) -> ApiKey | None:
        """The key of this id, whatever its tenant: the tenant comes from the key."""
        document = await self._keys.find_one({"_id": key_id})
        return _key(document) if document else None

    async def insert(self, tenant: str, key: ApiKey) -> None:
        """Keep a new key."""
        document = key.model_dump(mode="python") | {"_id": key.key_id, "tenant": tenant, "roles": sorted(key.roles)}
        await self._keys.insert_one(document)

    async def list(self, tenant: str) -> list[ApiKey]:
        """The tenant's keys, oldest first."""
        return [_key(document) async for document in self._keys.find({"tenant": tenant}).sort("created_at", 1)]

    async def revoke(self, tenant: str, key_id: str, now: datetime) -> bool:
        """End a key, which keeps the moment of its first end; whether there was one."""
        mine = {"_id": key_id, "tenant": tenant}
        await self._keys.update_one({**mine, "revoked_at": None}, {"$set": {"revoked_at": now}})
        return await self._keys.find_one(mine, {"_id": 1}) is not None


def _key(document: dict[str, Any]) -> ApiKey:
    return ApiKey.model_validate({name: value for name, value in document.items() if name != "_id"})
