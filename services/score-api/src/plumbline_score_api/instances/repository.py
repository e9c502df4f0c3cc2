"""Instances and insights in MongoDB, as readers see them."""

from collections.abc import Iterable
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from plumbline_contracts.events import Insights, Product
from pymongo.errors import DuplicateKeyError

from plumbline_score_api.audit.schemas import AuditEntry
from plumbline_score_api.instances.disconnection import Disconnection

Document = dict[str, Any]
_NAMES = {"instance": 1, "product": 1}
_LIGHT = {"current.datasets": 0, "current.audit_entries": 0}
_CONNECTED = {"is_disconnected": {"$ne": True}}


class InstanceRepository:
    """The collection `instances`, read only. Disconnected ones are not there."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._instances = database["instances"]

    async def names(self, tenant: str) -> dict[str, Product]:
        """The tenant's instances by name, with their product."""
        found = self._instances.find({"tenant": tenant, **_CONNECTED}, _NAMES).sort("_id", 1)
        return {document["instance"]: Product(document["product"]) async for document in found}

    async def ever(self, tenant: str) -> dict[str, Product]:
        """The instances that the tenant has or had by name, with their product: disconnected ones too."""
        found = self._instances.find({"tenant": tenant}, _NAMES).sort("_id", 1)
        return {document["instance"]: Product(document["product"]) async for document in found}

    async def list(self, tenant: str) -> list[Document]:
        """The tenant's instances by name, with score and status."""
        found = self._instances.find({"tenant": tenant, **_CONNECTED}, _LIGHT).sort("_id", 1)
        return [document async for document in found]

    async def find(self, tenant: str, instance: str) -> Document | None:
        """One instance of the tenant, with the audit entries of its current evaluation."""
        identity = {"_id": f"{tenant}/{instance}", "tenant": tenant, **_CONNECTED}
        return await self._instances.find_one(identity, {"current.datasets": 0})


class DisconnectionRepository:
    """The collection `instances`, as far as an instance is disconnected.

    `disconnected_at` stays for good: snapshots that began before it are late, whenever they come.
    """

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._instances = database["instances"]

    async def prepare(self) -> None:
        """Create the indexes; does nothing when they are there."""
        await self._instances.create_index([("is_closing", 1)])

    async def find(self, tenant: str, instance: str) -> Document | None:
        """An instance, disconnected or not."""
        return await self._instances.find_one({"_id": f"{tenant}/{instance}", "tenant": tenant}, _LIGHT)

    async def disconnect(self, tenant: str, disconnection: Disconnection, known: Document) -> bool:
        """Disconnect an instance if it is evaluated as it is known to be; whether it was done."""
        mine = {"_id": known["_id"], "tenant": tenant, **_CONNECTED}
        fields = {
            "disconnected_at": disconnection.at,
            "disconnection": disconnection.model_dump_json(),
            "is_disconnected": True,
            "is_closing": True,
        }
        change = {"$set": fields, "$unset": {"current": "", "status": "", "status_at": "", "untold": ""}}
        evaluation = (known.get("current") or {}).get("key")
        done = await self._instances.update_one({**mine, "current.key": evaluation}, change)
        return bool(done.matched_count)

    async def closing(self, tenant: str, instance: str) -> Disconnection | None:
        """The disconnection that something must still follow."""
        mine = {"_id": f"{tenant}/{instance}", "tenant": tenant, "is_closing": True}
        document = await self._instances.find_one(mine, {"disconnection": 1})
        return Disconnection.model_validate_json(document["disconnection"]) if document else None

    async def closed(self, tenant: str, disconnection: Disconnection) -> None:
        """What follows a disconnection is done."""
        mine = {"_id": f"{tenant}/{disconnection.instance}", "tenant": tenant, "disconnected_at": disconnection.at}
        await self._instances.update_one(mine, {"$set": {"is_closing": False}})

    async def pending(self) -> list[tuple[str, str]]:
        """Tenant and instance of disconnections that something must follow: all tenants', for the projector alone."""
        found = self._instances.find({"is_closing": True}, {"tenant": 1, "instance": 1})
        return [(document["tenant"], document["instance"]) async for document in found]


class InsightsRepository:
    """The collection `insights`: one document per tenant and product, so that `main` moves in one step."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._insights = database["insights"]

    async def prepare(self) -> None:
        """Create the indexes; does nothing when they are there."""
        await self._insights.create_index([("tenant", 1)])
        await self._insights.create_index([("is_pending", 1)])
        await self._insights.create_index([("is_unrecorded", 1)])

    async def read_all(self, tenant: str) -> dict[str, list[Document]]:
        """Product to the choices."""
        return {d["product"]: d["choices"] async for d in self._insights.find({"tenant": tenant})}

    async def read(self, tenant: str, product: Product) -> tuple[int, list[Document]]:
        """The revision and the choices: instance, insights, and whether a person chose."""
        document = await self._insights.find_one({"_id": f"{tenant}/{product.value}", "tenant": tenant})
        return (document["revision"], document["choices"]) if document else (0, [])

    async def replace(
        self, tenant: str, product: Product, revision: int, choices: list[Document], news: Iterable[AuditEntry] = ()
    ) -> bool:
        """Write the choices with their audit entries if nobody did since `revision`; whether it was done."""
        identity = f"{tenant}/{product.value}"
        waiting = (await self.outbox(tenant, product))[1]
        fields = {"tenant": tenant, "product": product.value, "choices": choices, "revision": revision + 1}
        change = {"$set": fields | _outbox([*waiting, *news])}
        try:
            done = await self._insights.update_one(
                {"_id": identity, "revision": revision}
                if revision
                else {"_id": identity, "revision": {"$exists": False}},
                change,
                upsert=not revision,
            )
        except DuplicateKeyError:
            return False
        return bool(done.matched_count or done.upserted_id)

    async def outbox(self, tenant: str, product: Product) -> tuple[int, list[AuditEntry]]:
        """The revision, and the audit entries that wait."""
        document = await self._insights.find_one({"_id": f"{tenant}/{product.value}", "tenant": tenant}) or {}
        entries = [AuditEntry.model_validate_json(body) for body in document.get("outbox", [])]
        return document.get("revision", 0), entries

    async def told(self, tenant: str, product: Product, revision: int) -> None:
        """Empty the outbox, whose entries are in the audit trail, unless more came meanwhile."""
        mine = {"_id": f"{tenant}/{product.value}", "tenant": tenant, "revision": revision}
        await self._insights.update_one(mine, {"$set": {"outbox": [], "is_pending": False}})

    async def recorded(self, tenant: str, product: Product, revision: int) -> None:
        """The history knows the choices up to a revision."""
        mine = {"_id": f"{tenant}/{product.value}", "tenant": tenant, "revision": revision}
        await self._insights.update_one(mine, {"$set": {"is_unrecorded": False}})

    async def pending(self) -> list[tuple[str, Product]]:
        """Tenant and product of outboxes that are not empty: all tenants', for the projector alone."""
        found = self._insights.find({"is_pending": True})
        return [(document["tenant"], Product(document["product"])) async for document in found]

    async def unrecorded(self) -> list[tuple[str, Product, int]]:
        """Tenant, product and revision of choices that the history does not know: for the projector alone."""
        found = self._insights.find({"is_unrecorded": True})
        return [(d["tenant"], Product(d["product"]), d["revision"]) async for d in found]


def _outbox(entries: list[AuditEntry]) -> Document:
    return {
        "outbox": [entry.model_dump_json() for entry in entries],
        "is_pending": bool(entries),
        "is_unrecorded": True,
    }


def choices_of(entries: list[Document]) -> dict[str, Insights]:
    """Instance to insights."""
    return {entry["instance"]: Insights(entry["insights"]) for entry in entries}
