"""Staged parts, findings and pointers in MongoDB.

Readers follow the pointer `current` of an instance's document, which one guarded update switches; findings and
exposed entities belong to one evaluation and are never changed once it is current.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from plumbline_contracts.events import (
    ControlDefinition,
    ControlResult,
    ControlResults,
    ExposedEntity,
    InstanceStatus,
)
from pydantic import TypeAdapter
from pymongo import ReplaceOne
from pymongo.errors import DuplicateKeyError

from plumbline_score_api.projection.findings import Finding

EXPOSED_PER_DOCUMENT = 500
_ENTITIES = TypeAdapter(list[ExposedEntity])


def evaluation_key(part: ControlResults) -> str:
    """Names one evaluation of one publication of a snapshot."""
    return f"{part.evaluation_id}.{part.snapshot_digest[:16]}"


class ProjectionRepository:
    """What the projector writes."""

    def __init__(self, database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
        self._parts, self._findings, self._exposed = database["parts"], database["findings"], database["exposed"]
        self._instances, self._controls = database["instances"], database["controls"]

    async def prepare(self) -> None:
        """Create the indexes; does nothing when they are there."""
        await self._parts.create_index([("tenant", 1), ("instance", 1), ("evaluation", 1)])
        await self._findings.create_index([("tenant", 1), ("instance", 1), ("evaluation", 1), ("rank_key", 1)])
        await self._findings.create_index([("tenant", 1), ("rank_key", 1)])
        await self._exposed.create_index(
            [("tenant", 1), ("instance", 1), ("evaluation", 1), ("control_id", 1), ("number", 1)]
        )
        await self._instances.create_index([("tenant", 1), ("product", 1)])

    async def stage(self, tenant: str, part: ControlResults) -> None:
        """Keep a part; keeping it again changes nothing."""
        key = evaluation_key(part)
        document = {
            "_id": f"{tenant}/{part.instance}/{key}/{part.part}",
            "tenant": tenant,
            "instance": part.instance,
            "evaluation": key,
            "part": part.part,
            "part_count": part.part_count,
            "started_at": part.snapshot_started_at,
            "body": part.model_dump_json(exclude_none=True),
        }
        await self._parts.replace_one({"_id": document["_id"]}, document, upsert=True)

    async def is_whole(self, tenant: str, instance: str, key: str) -> bool:
        """Whether the last part and all before it are staged."""
        mine = {"tenant": tenant, "instance": instance, "evaluation": key}
        last = await self._parts.find_one({**mine, "part_count": {"$ne": None}}, {"part_count": 1})
        return bool(last) and await self._parts.count_documents(mine) == (last or {})["part_count"]

    async def part(self, tenant: str, instance: str, key: str, number: int) -> ControlResults:
        """One staged part."""
        document = await self._parts.find_one({"_id": f"{tenant}/{instance}/{key}/{number}"})
        assert document is not None
        return ControlResults.model_validate_json(document["body"])

    async def current(self, tenant: str, instance: str) -> dict[str, Any] | None:
        """The pointer to the evaluation that readers see."""
        document = await self._instances.find_one({"_id": f"{tenant}/{instance}"}, {"current": 1})
        return document.get("current") if document else None

    async def findings(self, tenant: str, instance: str, key: str) -> dict[str, Finding]:
        """The findings of an evaluation by control id."""
        query = {"tenant": tenant, "instance": instance, "evaluation": key}
        found = [_finding(document) async for document in self._findings.find(query)]
        return {finding.result.control_id: finding for finding in found}

    async def write_findings(
        self, tenant: str, instance: str, product: str, key: str, findings: Iterable[Finding]
    ) -> None:
        """Keep the findings of an evaluation that no reader sees yet."""
        documents = [_document(tenant, instance, product, key, finding) for finding in findings]
        if documents:
            await self._findings.bulk_write(
                [ReplaceOne({"_id": d["_id"]}, d, upsert=True) for d in documents], ordered=False
            )

    async def write_exposed(
        self, tenant: str, instance: str, key: str, control_id: str, number: int, entities: list[ExposedEntity]
    ) -> None:
        """Keep some exposed entities of a control; `number` orders the documents."""
        document = {
            "_id": f"{tenant}/{instance}/{key}/{control_id}/{number}",
            "tenant": tenant,
            "instance": instance,
            "evaluation": key,
            "control_id": control_id,
            "number": number,
            "body": _ENTITIES.dump_json(entities).decode(),
        }
        await self._exposed.replace_one({"_id": document["_id"]}, document, upsert=True)

    async def move_exposed(self, tenant: str, instance: str, old: str, new: str, control_id: str) -> None:
        """Copy a control's exposed entities to a newer evaluation, for a result that stands in for an unread one."""
        query = {"tenant": tenant, "instance": instance, "evaluation": old, "control_id": control_id}
        async for document in self._exposed.find(query):
            identity = f"{tenant}/{instance}/{new}/{control_id}/{document['number']}"
            copy = document | {"_id": identity, "evaluation": new}
            await self._exposed.replace_one({"_id": identity}, copy, upsert=True)

    async def switch(
        self, tenant: str, instance: str, product: str, former: str | None, current: dict[str, Any]
    ) -> bool:
        """Make an evaluation current if `former` still is; whether it was done. This is what readers see, at once."""
        identity = f"{tenant}/{instance}"
        change = {"$set": {"current": current, "tenant": tenant, "instance": instance, "product": product}}
        try:
            done = await self._instances.update_one(
                {"_id": identity, "current.key": former}, change, upsert=former is None
            )
        except DuplicateKeyError:
            return False
        return bool(done.matched_count or done.upserted_id)

    async def forget(self, tenant: str, instance: str, keep: list[str], before: datetime) -> None:
        """Delete parts and findings of evaluations that nobody follows any more."""
        mine = {"tenant": tenant, "instance": instance}
        await self._parts.delete_many({**mine, "started_at": {"$lte": before}})
        await self._findings.delete_many({**mine, "evaluation": {"$nin": keep}})
        await self._exposed.delete_many({**mine, "evaluation": {"$nin": keep}})

    async def write_status(self, tenant: str, status: InstanceStatus) -> bool:
        """Keep a status unless a newer one is there; whether the instance is new."""
        identity = f"{tenant}/{status.instance}"
        document = {
            "tenant": tenant,
            "instance": status.instance,
            "product": status.product,
            "status": status.model_dump_json(exclude_none=True),
            "status_at": status.updated_at,
        }
        newer = {"_id": identity, "status_at": {"$not": {"$gt": status.updated_at}}}
        try:
            done = await self._instances.update_one(newer, {"$set": document}, upsert=True)
        except DuplicateKeyError:
            return False
        return done.upserted_id is not None

    async def write_definitions(self, definitions: Iterable[ControlDefinition]) -> None:
        """Keep control definitions; they belong to no tenant."""
        documents = [{"_id": d.key, "control_id": d.control_id, "body": d.model_dump_json()} for d in definitions]
        if documents:
            await self._controls.bulk_write(
                [ReplaceOne({"_id": d["_id"]}, d, upsert=True) for d in documents], ordered=False
            )

    async def definitions(self, keys: list[str]) -> dict[str, ControlDefinition]:
        """The definitions of these `control_id@digest` keys that are known, by control id."""
        found = [
            ControlDefinition.model_validate_json(document["body"])
            async for document in self._controls.find({"_id": {"$in": keys}})
        ]
        return {definition.control_id: definition for definition in found}


def _document(tenant: str, instance: str, product: str, key: str, finding: Finding) -> dict[str, Any]:
    result, definition = finding.result, finding.definition
    return {
        "_id": f"{tenant}/{instance}/{key}/{result.control_id}",
        "tenant": tenant,
        "instance": instance,
        "product": product,
        "evaluation": key,
        "control_id": result.control_id,
        "aliases": definition.aliases,
        "category": definition.category,
        "severity": definition.severity,
        "outcome": result.outcome,
        "status": finding.status,
        "rank_key": finding.rank_key(instance),
        "evaluated_at": finding.evaluated_at,
        "first_seen_at": finding.first_seen_at,
        "changed_at": finding.changed_at,
        "stale_since": finding.stale_since,
        "regressed_at": finding.regressed_at,
        "result": result.model_dump_json(exclude_none=True),
        "definition": definition.model_dump_json(exclude_none=True),
    }


def _finding(document: dict[str, Any]) -> Finding:
    return Finding(
        result=ControlResult.model_validate_json(document["result"]),
        definition=ControlDefinition.model_validate_json(document["definition"]),
        evaluated_at=document["evaluated_at"],
        first_seen_at=document["first_seen_at"],
        changed_at=document["changed_at"],
        stale_since=document["stale_since"],
        regressed_at=document["regressed_at"],
    )
