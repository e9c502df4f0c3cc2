"""The score history in MongoDB: points per change, one per day, and what was recorded last of each scope."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from pymongo import ReplaceOne, UpdateOne
from pymongo.errors import DuplicateKeyError

from plumbline_score_api.bulk.repository import unless_newer
from plumbline_score_api.findings.told import TELLINGS, Told, read
from plumbline_score_api.history.changing import (
    CHOICES,
    STATES,
    DayTally,
    Part,
    Point,
    Source,
    Totals,
)
from plumbline_score_api.history.record import Record

Document = dict[str, Any]
AT_ONCE = 200


@dataclass(frozen=True)
class Day:
    """How a day ended on which something changed, and what it brought."""

    totals: Totals
    tally: DayTally


class HistoryRepository:
    """The collections `history`, `history_days` and `records`."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._history, self._days = database["history"], database["history_days"]
        self._records = database["records"]

    async def prepare(self) -> None:
        """Create the indexes; does nothing when they are there."""
        await self._history.create_index([("tenant", 1), ("scope", 1), ("at", 1), ("seq", 1)])
        await self._history.create_index([("tenant", 1), ("scope", 1), ("seq", 1)])
        await self._history.create_index([("tenant", 1), ("scope", 1), ("controls", 1), ("seq", 1)])
        await self._history.create_index([("at", 1)])
        await self._days.create_index([("tenant", 1), ("scope", 1), ("day", 1)])
        await self._days.create_index([("day", 1)])
        await self._records.create_index([("is_pending", 1)])
        await self._records.create_index([("findings_due", 1)])

    async def record(self, tenant: str, scope: str) -> Record:
        """What was recorded last of a scope."""
        document = await self._records.find_one({"_id": f"{tenant}/{scope}", "tenant": tenant})
        return _record(document) if document else Record(scope)

    async def replace(self, tenant: str, known: Record, new: Record) -> Record | None:
        """Write a record if nobody did since `known`; the record as it is now, None when it was not done."""
        identity = f"{tenant}/{known.scope}"
        then = {"revision": known.revision} if known.revision else {"revision": {"$exists": False}}
        written = replace(new, revision=known.revision + 1)
        fields = {"tenant": tenant, **_fields(written), "revision": written.revision}
        try:
            done = await self._records.update_one(
                {"_id": identity, **then}, {"$set": fields}, upsert=not known.revision
            )
        except DuplicateKeyError:
            return None
        return written if done.matched_count or done.upserted_id else None

    async def told(self, tenant: str, records: Iterable[Record]) -> None:
        """What waited in them is told everywhere."""
        emptied = {"$set": {"outbox": None, "tellings": None, "is_pending": False}}
        changes = [
            UpdateOne({"_id": f"{tenant}/{each.scope}", "tenant": tenant, "revision": each.revision}, emptied)
            for each in records
        ]
        await self._records.bulk_write(changes, ordered=False)

    async def pending(self) -> list[tuple[str, str]]:
        """Tenant and scope of outboxes that are not empty: all tenants', for the projector alone."""
        found = self._records.find({"is_pending": True}, {"tenant": 1, "scope": 1})
        return [(document["tenant"], document["scope"]) async for document in found]

    async def findings_due(self, now: datetime) -> list[tuple[str, str]]:
        """Tenant and instance of findings that time has something to tell of: all tenants', for the projector alone."""
        found = self._records.find({"findings_due": {"$lte": now}}, {"tenant": 1, "scope": 1})
        return [(document["tenant"], document["scope"].removeprefix("instance:")) async for document in found]

    async def add(self, tenant: str, points: Iterable[Point]) -> None:
        """Keep points, and the days that they stand for so far; doing it again changes nothing."""
        kept, days = [], []
        for point in points:
            mine = {"tenant": tenant, "scope": point.scope, "seq": point.seq, "at": point.at}
            identity = f"{tenant}/{point.scope}/{point.seq}"
            controls = [change.control_id for change in point.changes]
            body = point.model_dump_json(exclude_defaults=True)
            kept.append(ReplaceOne({"_id": identity}, {**mine, "controls": controls, "body": body}, upsert=True))
            day = f"{point.at:%Y-%m-%d}"
            not_newer = {"_id": f"{tenant}/{point.scope}/{day}", "seq": {"$not": {"$gt": point.seq}}}
            bodies = {
                "body": point.totals.model_dump_json(exclude_defaults=True),
                "tally": point.day.model_dump_json(exclude_defaults=True),
            }
            days.append(UpdateOne(not_newer, {"$set": {**mine, "day": day, **bodies}}, upsert=True))
        await asyncio.gather(self._history.bulk_write(kept, ordered=False), unless_newer(self._days, days))

    async def points(
        self, tenant: str, scope: str, since: datetime, until: datetime, after: int, limit: int
    ) -> list[Point]:
        """Points of a scope from a moment on and up to another, in order, those behind the number `after`."""
        query = {"tenant": tenant, "scope": scope, "at": {"$gte": since, "$lte": until}, "seq": {"$gt": after}}
        found = self._history.find(query).sort("seq", 1).limit(limit)
        return [Point.model_validate_json(document["body"]) async for document in found]

    async def of_control(self, tenant: str, scope: str, control_id: str, limit: int) -> list[Point]:
        """The points at which a control of an instance changed, the newest first."""
        query = {"tenant": tenant, "scope": scope, "controls": control_id}
        found = self._history.find(query).sort("seq", -1).limit(limit)
        return [Point.model_validate_json(document["body"]) async for document in found]

    async def first(self, tenant: str, scope: str) -> Point | None:
        """The oldest point of a scope that is kept."""
        found = self._history.find({"tenant": tenant, "scope": scope}).sort("seq", 1).limit(1)
        return next(iter([Point.model_validate_json(document["body"]) async for document in found]), None)

    async def at(self, tenant: str, scope: str, moment: datetime) -> Point | None:
        """The point that a scope was at."""
        query = {"tenant": tenant, "scope": scope, "at": {"$lte": moment}}
        found = self._history.find(query).sort("seq", -1).limit(1)
        return next(iter([Point.model_validate_json(document["body"]) async for document in found]), None)

    async def sources(self, tenant: str, sources: Iterable[Source]) -> dict[tuple[str, int], Point]:
        """Points of instances by instance and number; those that retention has deleted are left out."""
        names = [f"{tenant}/instance:{source.instance}/{source.seq}" for source in sources]
        found: dict[tuple[str, int], Point] = {}
        for start in range(0, len(names), AT_ONCE):
            query = {"_id": {"$in": names[start : start + AT_ONCE]}, "tenant": tenant}
            async for document in self._history.find(query):
                point = Point.model_validate_json(document["body"])
                found[point.scope.removeprefix("instance:"), point.seq] = point
        return found

    async def days(self, tenant: str, scope: str, first: str, last: str, limit: int) -> list[tuple[str, Day]]:
        """The days from `first` to `last` on which something changed, in order."""
        query = {"tenant": tenant, "scope": scope, "day": {"$gte": first, "$lte": last}}
        found = self._days.find(query).sort("day", 1).limit(limit)
        return [(document["day"], _day(document)) async for document in found]

    async def day_before(self, tenant: str, scope: str, day: str) -> Totals | None:
        """How the last day before `day` ended on which something changed."""
        found = self._days.find({"tenant": tenant, "scope": scope, "day": {"$lt": day}}).sort("day", -1).limit(1)
        return next(iter([_day(document).totals async for document in found]), None)

    async def prune(self, before: datetime | None, day: str | None) -> None:
        """Delete the points before a moment and the days before a day, of all tenants; None keeps all."""
        if before is not None:
            await self._history.delete_many({"at": {"$lt": before}})
        if day is not None:
            await self._days.delete_many({"day": {"$lt": day}})


def _day(document: Document) -> Day:
    return Day(
        totals=Totals.model_validate_json(document["body"]), tally=DayTally.model_validate_json(document["tally"])
    )


def _fields(record: Record) -> Document:
    return {
        "scope": record.scope,
        "seq": record.seq,
        "at": record.at.isoformat() if record.at else None,
        "totals": record.totals.model_dump_json(exclude_defaults=True),
        "day": record.day.model_dump_json(exclude_defaults=True),
        "product": record.product,
        "evaluation": record.evaluation,
        "clock": record.clock.isoformat() if record.clock else None,
        "states": STATES.dump_json(record.states).decode(),
        "parts": [{"instance": name, "seq": part.seq, "body": part.body} for name, part in record.parts.items()],
        "insights": CHOICES.dump_json(record.insights).decode(),
        "outbox": record.outbox.model_dump_json(exclude_defaults=True) if record.outbox else None,
        "is_pending": record.is_pending,
        **_told_fields(record.told),
    }


def _told_fields(told: Told) -> Document:
    """Only instances have any."""
    if not told.states:
        return {}
    waiting = TELLINGS.dump_json(told.waiting).decode() if told.waiting else None
    return {"findings": told.dump(), "tellings": waiting, "findings_due": told.due()}


def _record(document: Document) -> Record:
    return Record(
        scope=document["scope"],
        revision=document["revision"],
        seq=document["seq"],
        at=datetime.fromisoformat(document["at"]) if document["at"] else None,
        totals=Totals.model_validate_json(document["totals"]),
        day=DayTally.model_validate_json(document["day"]),
        product=document["product"],
        evaluation=document["evaluation"],
        clock=datetime.fromisoformat(document["clock"]) if document["clock"] else None,
        states=STATES.validate_json(document["states"]),
        parts={part["instance"]: Part(part["seq"], part["body"]) for part in document["parts"]},
        insights=CHOICES.validate_json(document["insights"]),
        outbox=Point.model_validate_json(document["outbox"]) if document["outbox"] else None,
        told=_told(document),
    )


def _told(document: Document) -> Told:
    if document.get("findings") is None:
        return Told()
    instance = document["scope"].removeprefix("instance:")
    return read(document["tenant"], instance, document["findings"], document.get("tellings"))
