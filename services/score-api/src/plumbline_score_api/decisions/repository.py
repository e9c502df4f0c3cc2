"""Decisions in MongoDB.

One document per instance, and one per tenant for the templates, holds all decisions: so many of them change in one
step, and one revision tells readers whether anything did. The audit entries of a change are written in the same step
and wait in the document's outbox until they are in the audit trail.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from pymongo.errors import DuplicateKeyError

from plumbline_score_api.audit.schemas import AuditEntry
from plumbline_score_api.decisions.decision import Decision, next_expiry

Document = dict[str, Any]


@dataclass(frozen=True)
class Book:
    """The decisions of an instance, by control id; with `instance` None the templates of the tenant."""

    instance: str | None
    revision: int = 0
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    outbox: tuple[AuditEntry, ...] = ()


class DecisionRepository:
    """The collections `decisions` and `decision_exposed`, and `exposed` to read."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._decisions, self._known = database["decisions"], database["decision_exposed"]
        self._exposed = database["exposed"]

    async def prepare(self) -> None:
        """Create the indexes; does nothing when they are there."""
        await self._decisions.create_index([("tenant", 1), ("instance", 1), ("revision", 1)])
        await self._decisions.create_index([("is_pending", 1)])
        await self._decisions.create_index([("is_unrecorded", 1)])
        await self._decisions.create_index([("next_expiry", 1)])
        await self._known.create_index([("tenant", 1), ("instance", 1)])

    async def revisions(self, tenant: str) -> dict[str | None, int]:
        """Instance to the revision of its decisions; None names the templates."""
        found = self._decisions.find({"tenant": tenant}, {"_id": 0, "instance": 1, "revision": 1})
        return {document["instance"]: document["revision"] async for document in found}

    async def books(self, tenant: str, instances: Iterable[str | None]) -> dict[str | None, Book]:
        """The decisions of instances; those without any have an empty book."""
        names = list(instances)
        query = {"_id": {"$in": [_identity(tenant, name) for name in names]}, "tenant": tenant}
        found = {document["instance"]: _book(document) async for document in self._decisions.find(query)}
        return {name: found.get(name, Book(name)) for name in names}

    async def book(self, tenant: str, instance: str | None) -> Book:
        """The decisions of one instance, or the templates."""
        return (await self.books(tenant, [instance]))[instance]

    async def replace(
        self, tenant: str, book: Book, changed: Mapping[str, Decision], news: Iterable[AuditEntry]
    ) -> bool:
        """Write changed decisions with their audit entries if nobody wrote since `book`; whether it was done."""
        identity, known = _identity(tenant, book.instance), {**book.decisions, **changed}
        fields = {
            "tenant": tenant,
            "instance": book.instance,
            "revision": book.revision + 1,
            "outbox": [entry.model_dump_json() for entry in (*book.outbox, *news)],
            "is_pending": True,
            "is_unrecorded": True,
            "next_expiry": next_expiry(known),
            **{f"entries.{_key(control)}": decision.model_dump_json() for control, decision in changed.items()},
        }
        then = {"revision": book.revision} if book.revision else {"revision": {"$exists": False}}
        try:
            done = await self._decisions.update_one(
                {"_id": identity, **then}, {"$set": fields}, upsert=not book.revision
            )
        except DuplicateKeyError:
            return False
        return bool(done.matched_count or done.upserted_id)

    async def drop(self, tenant: str, book: Book) -> bool:
        """Delete the decisions of an instance, and what they know of, if nobody wrote since; whether it was done."""
        mine = {"_id": _identity(tenant, book.instance), "tenant": tenant}
        if book.revision and not (await self._decisions.delete_one({**mine, "revision": book.revision})).deleted_count:
            return False
        await self._known.delete_many({"tenant": tenant, "instance": book.instance})
        return True

    async def told(self, tenant: str, book: Book) -> None:
        """Empty the outbox, whose entries are in the audit trail, unless more came meanwhile."""
        mine = {"_id": _identity(tenant, book.instance), "tenant": tenant, "revision": book.revision}
        await self._decisions.update_one(mine, {"$set": {"outbox": [], "is_pending": False}})

    async def recorded(self, tenant: str, instance: str | None, revision: int) -> None:
        """The history knows the decisions up to a revision."""
        mine = {"_id": _identity(tenant, instance), "tenant": tenant, "revision": revision}
        await self._decisions.update_one(mine, {"$set": {"is_unrecorded": False}})

    async def pending(self) -> list[tuple[str, str | None]]:
        """Tenant and instance of outboxes that are not empty: all tenants', for the projector alone."""
        found = self._decisions.find({"is_pending": True}, {"tenant": 1, "instance": 1})
        return [(document["tenant"], document["instance"]) async for document in found]

    async def unrecorded(self) -> list[tuple[str, str | None, int]]:
        """Tenant, instance and revision of decisions that the history does not know: for the projector alone."""
        fields = {"tenant": 1, "instance": 1, "revision": 1}
        found = self._decisions.find({"is_unrecorded": True}, fields)
        return [(document["tenant"], document["instance"], document["revision"]) async for document in found]

    async def due(self, now: datetime) -> list[tuple[str, str | None]]:
        """Tenant and instance of decisions that expire up to now: all tenants', for the projector alone."""
        query = {"next_expiry": {"$ne": None, "$lte": now}}
        found = self._decisions.find(query, {"tenant": 1, "instance": 1})
        return [(document["tenant"], document["instance"]) async for document in found]

    async def expiring(self, tenant: str, until: datetime) -> list[Book]:
        """The tenant's books of which a decision that holds expires up to a moment."""
        query = {"tenant": tenant, "next_expiry": {"$ne": None, "$lte": until}}
        return [_book(document) async for document in self._decisions.find(query)]

    async def exposed(self, tenant: str, instance: str, evaluation: str, control_id: str) -> frozenset[str]:
        """The listed exposed entities of a control in an evaluation, as `type|id`."""
        query = {"tenant": tenant, "instance": instance, "evaluation": evaluation, "control_id": control_id}
        found: set[str] = set()
        async for document in self._exposed.find(query, {"body": 1}):
            found.update(f"{entity['type']}|{entity['id']}" for entity in json.loads(document["body"]))
        return frozenset(found)

    async def keep_known(
        self, tenant: str, instance: str, control_id: str, decision_id: str, known: frozenset[str], at: datetime
    ) -> None:
        """Keep the entities that a decision knows of; keeping them again changes nothing."""
        identity = f"{tenant}/{instance}/{control_id}/{decision_id}"
        document = {"tenant": tenant, "instance": instance, "decision_id": decision_id, "at": at}
        await self._known.replace_one(
            {"_id": identity}, {"_id": identity, **document, "body": json.dumps(sorted(known))}, upsert=True
        )

    async def known(self, tenant: str, instance: str, control_id: str, decision_id: str) -> frozenset[str]:
        """The entities that a decision knows of."""
        identity = f"{tenant}/{instance}/{control_id}/{decision_id}"
        document = await self._known.find_one({"_id": identity, "tenant": tenant})
        return frozenset(json.loads(document["body"])) if document else frozenset()

    async def forget_known(self, tenant: str, instance: str, keep: list[str], before: datetime) -> None:
        """Delete the entities that no decision of `keep` knows of, but for those that may be about to be one's."""
        old = {"tenant": tenant, "instance": instance, "decision_id": {"$nin": keep}, "at": {"$lt": before}}
        await self._known.delete_many(old)


def _identity(tenant: str, instance: str | None) -> str:
    return tenant if instance is None else f"{tenant}/{instance}"


def _key(control_id: str) -> str:
    """A control id as a field's name, in which a dot would be a path."""
    return control_id.replace(".", "~")


def _book(document: Document) -> Book:
    found = [Decision.model_validate_json(body) for body in document.get("entries", {}).values()]
    return Book(
        instance=document["instance"],
        revision=document["revision"],
        decisions={decision.control_id: decision for decision in found},
        outbox=tuple(AuditEntry.model_validate_json(body) for body in document.get("outbox", [])),
    )
