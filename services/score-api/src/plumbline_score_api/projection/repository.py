"""Staged parts, findings and pointers in MongoDB.

Readers follow the pointer `current` of an instance's document, which one guarded update switches; findings and
exposed entities belong to one evaluation and are never changed once it is current. Everything that belongs to an
evaluation carries its precedence, so that tidying up never touches a newer one that another replica is writing.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from plumbline_contracts.events import (
    AuditEntry,
    ControlDefinition,
    ControlResult,
    ControlResults,
    ExposedEntity,
    InstanceStatus,
    Product,
)
from pydantic import TypeAdapter
from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from plumbline_score_api.bulk.repository import replace, unless_newer
from plumbline_score_api.changes.changes import Change
from plumbline_score_api.pictures.aging import Turned
from plumbline_score_api.pictures.control import CONTROLS
from plumbline_score_api.projection.evaluations import Evaluation, Standing, last_precedence
from plumbline_score_api.projection.findings import Finding
from plumbline_score_api.recommendations.repository import field_of

EXPOSED_PER_DOCUMENT = 500
RESULTS_PER_DOCUMENT = 100
_STANDING = {"current": 1, "disconnected_at": 1, "is_disconnected": 1, "is_closing": 1}
_ENTITIES = TypeAdapter(list[ExposedEntity])


class ProjectionRepository:
    """What the projector writes."""

    def __init__(self, database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
        self._parts, self._findings, self._exposed = database["parts"], database["findings"], database["exposed"]
        self._instances, self._controls = database["instances"], database["controls"]
        self._pictures, self._setting_changes = database["pictures"], database["setting_changes"]

    async def prepare(self) -> None:
        """Create the indexes; does nothing when they are there."""
        await self._parts.create_index([("tenant", 1), ("instance", 1), ("evaluation", 1), ("part", 1)])
        await self._parts.create_index([("waiting", 1)])
        await self._findings.create_index([("tenant", 1), ("evaluation", 1)])
        await self._findings.create_index([("tenant", 1), ("instance", 1), ("precedence", 1)])
        await self._exposed.create_index([("tenant", 1), ("evaluation", 1), ("control_id", 1), ("number", 1)])
        await self._exposed.create_index([("tenant", 1), ("instance", 1), ("precedence", 1)])
        await self._instances.create_index([("tenant", 1), ("product", 1)])
        await self._instances.create_index([("current.is_settled", 1)])
        await self._instances.create_index([("current.next_due", 1)])
        await self._setting_changes.create_index([("tenant", 1), ("instance", 1), ("at", -1)])
        await self._setting_changes.create_index([("at", 1)])
        await self._pictures.create_index([("tenant", 1), ("instance", 1), ("precedence", 1)])

    async def stage(self, tenant: str, evaluation: Evaluation, part: ControlResults) -> None:
        """Keep a part of an evaluation; keeping it again changes nothing."""
        document = {
            **_belongs(tenant, evaluation),
            "_id": f"{tenant}/{part.instance}/{evaluation.key}/{part.part}",
            "part": part.part,
            "part_count": part.part_count,
            "product": part.product,
            "snapshot_id": part.snapshot_id,
            "trace_id": evaluation.trace_id,
            "body": part.model_dump_json(exclude_none=True),
        }
        await self._parts.replace_one({"_id": document["_id"]}, document, upsert=True)

    async def is_whole(self, tenant: str, evaluation: Evaluation) -> bool:
        """Whether the last part and all before it are staged. Parts behind the last one do not count."""
        mine = {"tenant": tenant, "instance": evaluation.instance, "evaluation": evaluation.key}
        last = await self._parts.find_one({**mine, "part_count": {"$ne": None}}, {"part_count": 1})
        if last is None:
            return False
        count: int = last["part_count"]
        return await self._parts.count_documents({**mine, "part": {"$lt": count}}) == count

    async def part(self, tenant: str, evaluation: Evaluation, number: int) -> ControlResults | None:
        """One staged part; None when it is gone, because a newer evaluation was switched to."""
        identity = f"{tenant}/{evaluation.instance}/{evaluation.key}/{number}"
        document = await self._parts.find_one({"_id": identity})
        return ControlResults.model_validate_json(document["body"]) if document else None

    async def unstage(self, tenant: str, evaluation: Evaluation) -> None:
        """Drop the parts of an evaluation that will never be current."""
        await self._parts.delete_many({"tenant": tenant, "instance": evaluation.instance, "evaluation": evaluation.key})

    async def mark_waiting(self, tenant: str, evaluation: Evaluation, missing: list[str]) -> None:
        """Remember that a whole evaluation waits for these `control_id@digest` definitions."""
        mine = {"tenant": tenant, "instance": evaluation.instance, "evaluation": evaluation.key}
        await self._parts.update_one({**mine, "part": 0}, {"$set": {"waiting": True, "missing": missing}})

    async def waiting(self) -> list[tuple[str, Evaluation, list[str]]]:
        """Every evaluation that waits, with its tenant and what it waits for: all tenants', for the projector alone."""
        found = self._parts.find({"waiting": True}, {"body": 0}).sort("precedence", 1)
        return [(d["tenant"], _evaluation(d), d["missing"]) async for d in found]

    async def current(self, tenant: str, instance: str) -> Mapping[str, Any] | None:
        """The pointer to the evaluation that readers see."""
        return (await self.standing(tenant, instance)).current

    async def standing(self, tenant: str, instance: str) -> Standing:
        """How an instance stands; one that is unknown too."""
        found = await self._instances.find_one({"_id": f"{tenant}/{instance}"}, _STANDING) or {}
        return Standing(
            current=found.get("current"),
            disconnected_at=found.get("disconnected_at"),
            is_disconnected=found.get("is_disconnected", False),
            is_closing=found.get("is_closing", False),
        )

    async def results(self, tenant: str, instance: str, key: str, wanted: set[str]) -> dict[str, ControlResult]:
        """Some results of an evaluation, by control id."""
        if not wanted:
            return {}
        query, fields = {"tenant": tenant, "instance": instance, "evaluation": key}, map(field_of, sorted(wanted))
        found = self._findings.find(query, {f"results.{name}": 1 for name in fields})
        bodies = [body async for document in found for body in document.get("results", {}).values()]
        return {each.control_id: each for each in map(ControlResult.model_validate_json, bodies)}

    async def write_findings(self, tenant: str, evaluation: Evaluation, findings: list[Finding]) -> int:
        """Keep the findings of an evaluation that no reader sees yet: their results some together, all in a picture.

        Into how many documents the results went.
        """
        slices = [
            findings[start : start + RESULTS_PER_DOCUMENT] for start in range(0, len(findings), RESULTS_PER_DOCUMENT)
        ]
        body = CONTROLS.dump_json([finding.control for finding in findings], exclude_none=False).decode()
        picture = {**_belongs(tenant, evaluation), "_id": f"{tenant}/{evaluation.instance}/{evaluation.key}"}
        await asyncio.gather(
            replace(self._findings, [_slice(tenant, evaluation, number, some) for number, some in enumerate(slices)]),
            replace(self._pictures, [{**picture, "body": body}]),
        )
        return len(slices)

    async def write_exposed(
        self, tenant: str, evaluation: Evaluation, slices: Iterable[tuple[str, int, list[ExposedEntity]]]
    ) -> None:
        """Keep exposed entities of some controls: (control id, number that orders its documents, entities)."""
        documents = [
            {
                **_belongs(tenant, evaluation),
                "_id": f"{tenant}/{evaluation.instance}/{evaluation.key}/{control_id}/{number}",
                "control_id": control_id,
                "number": number,
                "body": _ENTITIES.dump_json(entities).decode(),
            }
            for control_id, number, entities in slices
        ]
        await replace(self._exposed, documents)

    async def carry_exposed(self, tenant: str, evaluation: Evaluation, former: str, control_id: str) -> None:
        """Give a control the exposed entities of a former evaluation, whose result stands in for an unread one."""
        mine = {"tenant": tenant, "evaluation": evaluation.key, "control_id": control_id}
        await self._exposed.delete_many(mine)
        async for document in self._exposed.find({**mine, "evaluation": former}):
            identity = f"{tenant}/{evaluation.instance}/{evaluation.key}/{control_id}/{document['number']}"
            await replace(self._exposed, [{**document, **_belongs(tenant, evaluation), "_id": identity}])

    async def switch(self, tenant: str, evaluation: Evaluation, former: str | None, current: dict[str, Any]) -> bool:
        """Make an evaluation current if `former` still is; whether it was done. This is what readers see, at once.

        It is not done for a snapshot that began before the instance was disconnected.
        """
        identity = f"{tenant}/{evaluation.instance}"
        named = {"tenant": tenant, "instance": evaluation.instance, "product": evaluation.product}
        try:
            done = await self._instances.update_one(
                {"_id": identity, "current.key": former, **_disconnected_before(current["started_at"])},
                {"$set": {"current": current, "is_disconnected": False, **named}},
                upsert=former is None,
            )
        except DuplicateKeyError:
            return False
        return bool(done.matched_count or done.upserted_id)

    async def forget(self, tenant: str, instance: str, evaluation: Mapping[str, Any]) -> None:
        """Delete the findings of an evaluation that nobody follows any more: `key` and `slices` of its pointer."""
        name = f"{tenant}/{instance}/{evaluation['key']}"
        slices = [f"{name}/{number}" for number in range(evaluation["slices"])]
        await asyncio.gather(
            self._findings.delete_many({"_id": {"$in": slices}, "tenant": tenant}),
            self._exposed.delete_many({"tenant": tenant, "evaluation": evaluation["key"], "instance": instance}),
            self._pictures.delete_one({"_id": name, "tenant": tenant}),
        )

    async def forget_parts(self, tenant: str, evaluation: Evaluation) -> None:
        """Delete all parts up to an evaluation."""
        await self._parts.delete_many(_up_to(tenant, evaluation))

    async def sweep(self, tenant: str, evaluation: Evaluation, keep: list[str]) -> None:
        """Delete the findings up to an evaluation of all that nobody follows, also of those that were cut short."""
        unfollowed = {**_up_to(tenant, evaluation), "evaluation": {"$nin": keep}}
        await asyncio.gather(
            *(each.delete_many(unfollowed) for each in (self._findings, self._exposed, self._pictures))
        )

    async def erase(self, tenant: str, instance: str, until: datetime) -> None:
        """Delete all parts, findings and pictures of snapshots up to a moment, and what happened till then."""
        gone = {"tenant": tenant, "instance": instance, "precedence": {"$lte": last_precedence(until)}}
        for collection in (self._parts, self._findings, self._exposed, self._pictures):
            await collection.delete_many(gone)
        await self._setting_changes.delete_many({"tenant": tenant, "instance": instance, "at": {"$lte": until}})

    async def keep_setting_changes(self, tenant: str, instance: str, entries: Iterable[AuditEntry]) -> None:
        """Keep what the product's audit trail says; keeping an entry again changes nothing."""
        documents = {d["_id"]: d for d in (_setting_change(tenant, instance, entry) for entry in entries)}
        if not documents:
            return
        query = {"_id": {"$in": list(documents)}, "tenant": tenant}
        known = {document["_id"] async for document in self._setting_changes.find(query, {"_id": 1})}
        await replace(self._setting_changes, [d for identity, d in documents.items() if identity not in known])

    async def prune_setting_changes(self, before: datetime) -> None:
        """Delete what products said happened before a moment, of all tenants."""
        await self._setting_changes.delete_many({"at": {"$lt": before}})

    async def due(self, now: datetime) -> list[tuple[str, str]]:
        """Tenant and instance of what time alone changes up to now: all tenants', for the projector alone."""
        found = self._instances.find({"current.next_due": {"$ne": None, "$lte": now}}, {"tenant": 1, "instance": 1})
        return [(document["tenant"], document["instance"]) async for document in found]

    async def turn_clock(self, tenant: str, instance: str, key: str, then: Turned, now: datetime) -> None:
        """Set an instance's clock, unless another evaluation is current or somebody did. Something follows."""
        mine = {"_id": f"{tenant}/{instance}", "current.key": key, "current.next_due": {"$ne": None, "$lte": now}}
        turned = {"current.clock": then.clock, "current.next_due": then.next_due, "current.aged_at": now}
        await self._instances.update_one(mine, {"$set": {**turned, "current.is_settled": False}})

    async def settled(self, tenant: str, instance: str, key: str, clock: datetime | None) -> None:
        """What follows a switch, or a turn of the clock, is done."""
        mine = {"_id": f"{tenant}/{instance}", "current.key": key, "current.clock": clock}
        await self._instances.update_one(mine, {"$set": {"current.is_settled": True}})

    async def unsettled(self) -> list[tuple[str, str]]:
        """Tenant and instance of switches that something must still follow: all tenants', for the projector alone."""
        found = self._instances.find({"current.is_settled": False}, {"tenant": 1, "instance": 1})
        return [(document["tenant"], document["instance"]) async for document in found]

    async def status(self, tenant: str, instance: str) -> tuple[InstanceStatus | None, list[Change]]:
        """The newest status that is kept, and what statuses said that is not in the change log yet."""
        fields = {"status": 1, "untold": 1}
        document = await self._instances.find_one({"_id": f"{tenant}/{instance}", "tenant": tenant}, fields) or {}
        body = document.get("status")
        known = InstanceStatus.model_validate_json(body, extra="ignore") if body else None
        return known, [Change.model_validate_json(text) for text in document.get("untold", [])]

    async def write_status(
        self, tenant: str, status: InstanceStatus, untold: list[Change], disconnected_at: datetime | None = None
    ) -> None:
        """Keep a status, with what is to be told.

        Unless a newer one is there, or the instance was disconnected after `disconnected_at`.
        """
        document = {
            "tenant": tenant,
            "instance": status.instance,
            "product": status.product,
            "status": status.model_dump_json(exclude_none=True),
            "status_at": status.updated_at,
            "untold": [change.model_dump_json() for change in untold],
            "is_disconnected": False,
        }
        not_newer = {
            "_id": f"{tenant}/{status.instance}",
            "status_at": {"$not": {"$gt": status.updated_at}},
            "disconnected_at": disconnected_at,
        }
        with contextlib.suppress(DuplicateKeyError):
            await self._instances.update_one(not_newer, {"$set": document}, upsert=True)

    async def status_told(self, tenant: str, status: InstanceStatus) -> None:
        """What waited with a status is in the change log; a newer status keeps what it brought."""
        not_newer = {"_id": f"{tenant}/{status.instance}", "status_at": {"$not": {"$gt": status.updated_at}}}
        await self._instances.update_one(not_newer, {"$set": {"untold": []}})

    async def write_definitions(self, definitions: Iterable[ControlDefinition]) -> None:
        """Keep control definitions unless one of a newer generation is there; they belong to no tenant."""
        changes = [
            UpdateOne(
                {"_id": d.key, "generation": {"$not": {"$gt": d.catalogue_generation}}},
                {"$set": {"generation": d.catalogue_generation, "body": d.model_dump_json()}},
                upsert=True,
            )
            for d in definitions
        ]
        if changes:
            await unless_newer(self._controls, changes)

    async def defined(self, keys: list[str]) -> set[str]:
        """Those of these `control_id@digest` keys whose definitions are known."""
        return {document["_id"] async for document in self._controls.find({"_id": {"$in": keys}}, {"_id": 1})}


def _up_to(tenant: str, evaluation: Evaluation) -> dict[str, Any]:
    return {"tenant": tenant, "instance": evaluation.instance, "precedence": {"$lte": evaluation.precedence}}


def _disconnected_before(started_at: datetime) -> dict[str, Any]:
    return {"disconnected_at": {"$not": {"$gte": started_at}}}


def _evaluation(staged: dict[str, Any]) -> Evaluation:
    return Evaluation(
        instance=staged["instance"],
        product=Product(staged["product"]),
        snapshot_id=staged["snapshot_id"],
        key=staged["evaluation"],
        precedence=staged["precedence"],
        trace_id=staged.get("trace_id"),
    )


def _belongs(tenant: str, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "instance": evaluation.instance,
        "evaluation": evaluation.key,
        "precedence": evaluation.precedence,
    }


def _slice(tenant: str, evaluation: Evaluation, number: int, findings: list[Finding]) -> dict[str, Any]:
    return {
        **_belongs(tenant, evaluation),
        "_id": f"{tenant}/{evaluation.instance}/{evaluation.key}/{number}",
        "number": number,
        "results": {
            field_of(each.result.control_id): each.result.model_dump_json(exclude_none=True) for each in findings
        },
    }


def _setting_change(tenant: str, instance: str, entry: AuditEntry) -> dict[str, Any]:
    body = entry.model_dump_json(exclude_none=True)
    identity = f"{tenant}/{instance}/{hashlib.sha256(body.encode()).hexdigest()[:32]}"
    return {"_id": identity, "tenant": tenant, "instance": instance, "at": entry.at, "body": body}
