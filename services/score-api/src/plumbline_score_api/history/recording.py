"""Records what changed: a point per change of an instance, its product and the tenant, and the change log.

A point is the difference between what was recorded last and what stands now, so nothing is ever missed or told twice,
whatever was killed in between; it is written into the scope's record first and told from there.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from weakref import WeakValueDictionary

from plumbline_contracts.events import Product

from plumbline_score_api.changes.changes import Change, changes_of
from plumbline_score_api.changes.repository import ChangeLogRepository
from plumbline_score_api.decisions.decision import Ended
from plumbline_score_api.history.changing import (
    SYSTEM,
    TENANT,
    ControlChange,
    DayTally,
    Kind,
    Part,
    Point,
    Source,
    Totals,
    add,
    between,
    counted_changes,
    instance_scope,
    product_scope,
    states_of,
    totals_of,
)
from plumbline_score_api.history.repository import HistoryRepository, Record
from plumbline_score_api.history.tallies import day_tally
from plumbline_score_api.instances.insights import InsightsService
from plumbline_score_api.pictures.picture import InstancePicture, Recommendation
from plumbline_score_api.pictures.service import PictureService
from plumbline_score_api.problems import ConflictError
from plumbline_score_api.scores.scoring import counted

ATTEMPTS = 20
PartitionOf = Callable[[str], int]
"""The partition of `control-results` that a key belongs to."""


class Recorder:
    """Writes history and change log of all tenants."""

    def __init__(
        self,
        repository: HistoryRepository,
        pictures: PictureService,
        insights: InsightsService,
        log: ChangeLogRepository,
        partition_of: PartitionOf,
    ) -> None:
        self._repository, self._pictures, self._insights = repository, pictures, insights
        self._log, self._partition_of = log, partition_of
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        """Those of this process that add to a scope take turns, instead of overtaking each other."""

    async def record(self, tenant: str, instance: str) -> None:
        """Record an instance as it stands. Doing it again changes nothing. Raises ConflictError."""
        for _ in range(ATTEMPTS):
            known = await self._settled(tenant, instance_scope(instance))
            picture = await self._pictures.instance(tenant, instance)
            if known is None:
                continue
            if picture is None or picture.version.evaluation is None:
                return
            new = _next(known, picture)
            if new is None:
                return
            if await self._repository.replace(tenant, known, new):
                await self._settled(tenant, new.scope)
                return
        raise ConflictError(f"The history of {instance} is being written by others.")

    async def record_gone(self, tenant: str, instance: str) -> None:
        """Record that an instance has no controls any more. Doing it again changes nothing. Raises ConflictError."""
        for _ in range(ATTEMPTS):
            known = await self._settled(tenant, instance_scope(instance))
            if known is None:
                continue
            if not known.states:
                return
            new = _gone(known, instance)
            if await self._repository.replace(tenant, known, new):
                await self._settled(tenant, new.scope)
                return
        raise ConflictError(f"The history of {instance} is being written by others.")

    async def record_all(self, tenant: str) -> None:
        """Record every instance of a tenant. Raises ConflictError."""
        for instance in (await self._pictures.tenant(tenant)).instances:
            await self.record(tenant, instance)

    async def record_insights(self, tenant: str, product: Product) -> None:
        """Record which instances of a product count now. Raises ConflictError."""
        for scope in (product_scope(product), TENANT):
            await self._aggregate(tenant, scope, product, None)

    async def resume(self, tenant: str, scope: str) -> None:
        """Tell the point that waits in a scope's record."""
        await self._settled(tenant, scope)

    async def tell(self, tenant: str, instance: str, changes: list[Change]) -> None:
        """Add what happened to an instance to the change log. Doing it again changes nothing. Raises BusyLogError."""
        await self._log.append(tenant, self._partition_of(f"{tenant}/{instance}"), changes)

    async def _settled(self, tenant: str, scope: str) -> Record | None:
        """The record, if its outbox is empty; else None, with the point told."""
        record = await self._repository.record(tenant, scope)
        if record.outbox is None:
            return record
        await self._tell(tenant, record, record.outbox)
        await self._repository.told(tenant, record)
        return None

    async def _tell(self, tenant: str, record: Record, point: Point) -> None:
        instance = scope_instance(record.scope) or (point.source.instance if point.source is not None else None)
        await self._repository.add(tenant, point)
        partition = self._partition_of(f"{tenant}/{instance or record.product}")
        await self._log.append(tenant, partition, changes_of(point, scope_instance(record.scope)))
        if scope_instance(record.scope) is not None:
            assert record.product is not None
            for scope in (product_scope(record.product), TENANT):
                await self._aggregate(tenant, scope, Product(record.product), point)

    async def _aggregate(self, tenant: str, scope: str, product: Product, source: Point | None) -> None:
        """Bring a scope of several instances up to date with a point of an instance, or with the insights alone."""
        async with self._locks.setdefault((tenant, scope), asyncio.Lock()):
            await self._aggregate_alone(tenant, scope, product, source)

    async def _aggregate_alone(self, tenant: str, scope: str, product: Product, source: Point | None) -> None:
        for _ in range(ATTEMPTS):
            known = await self._settled(tenant, scope)
            if known is None:
                continue
            new = await self._insights_point(tenant, known, product)
            is_last = new is None
            if new is None and source is not None:
                new = _with_part(known, source, product)
            if new is None:
                return
            if await self._repository.replace(tenant, known, new):
                await self._settled(tenant, scope)
                if is_last:
                    return
        raise ConflictError(f"The history of {scope} is being written by others.")

    async def _insights_point(self, tenant: str, known: Record, product: Product) -> Record | None:
        """The record with the insights of now, with a point if that matters; None when they are known."""
        live, authors = await self._insights.read_with_authors(tenant, product)
        insights = {**known.insights, **live}
        if insights == known.insights:
            return None
        parts = {name: part.totals for name, part in known.parts.items()}
        changes = counted_changes(known.insights, insights, parts, authors)
        new = replace(known, insights=insights)
        if not changes:
            return new
        totals = add(part for name, part in parts.items() if name in counted(insights))
        brought = day_tally([], changes, is_first=False)
        point = _point(known, totals, _not_before(known, datetime.now(UTC)), brought)
        point = point.model_copy(update={"insights": changes})
        return _pointed(replace(new, product=product), point)


def scope_instance(scope: str) -> str | None:
    """The instance of an instance's scope."""
    return scope.removeprefix("instance:") if scope.startswith("instance:") else None


def _next(known: Record, picture: InstancePicture) -> Record | None:
    """The record of an instance with a point for what changed; None when nothing did."""
    states = states_of(picture)
    changes, totals = between(picture.instance, known.states, states, _authors(picture)), totals_of(picture)
    if not changes and known.seq and totals.stale_instances == known.totals.stale_instances:
        return None
    moment = _moment(known, picture, changes, datetime.now(UTC))
    brought = day_tally(changes, [], is_first=not known.seq)
    point = _point(known, totals, _not_before(known, moment), brought).model_copy(update={"changes": changes})
    version = picture.version
    new = replace(known, product=picture.product, evaluation=version.evaluation, clock=version.clock, states=states)
    return _pointed(new, point)


def _moment(known: Record, picture: InstancePicture, changes: list[ControlChange], now: datetime) -> datetime:
    """When it changed, at the latest now: with a new evaluation, by time, or when the newest decision was made."""
    version, moments = picture.version, []
    if not all(change.kind is Kind.STATUS for change in changes) or not changes:
        if version.evaluation != known.evaluation:
            moments.append(picture.evaluated_at or now)
        else:
            moments.append(version.clock if version.clock is not None and version.clock != known.clock else now)
    decided = [picture.find(change.control_id) for change in changes if change.kind is Kind.STATUS]
    moments += [_decided_at(item, now) for item in decided]
    return min(max(moments), now)


def _decided_at(item: Recommendation | None, now: datetime) -> datetime:
    decision = item.decision if item is not None else None
    return now if decision is None else decision.ended_at or decision.decided_at


def _gone(known: Record, instance: str) -> Record:
    """The record of an instance with a point at which all of its controls end."""
    changes = between(instance, known.states, {}, {})
    brought = day_tally(changes, [], is_first=False)
    point = _point(known, Totals(), _not_before(known, datetime.now(UTC)), brought)
    point = point.model_copy(update={"changes": changes})
    return _pointed(replace(known, evaluation=None, states={}), point)


def _with_part(known: Record, source: Point, product: Product) -> Record | None:
    """The record of a scope of several with what an instance adds now; None when that is known."""
    instance = str(scope_instance(source.scope))
    part = known.parts.get(instance)
    if part is not None and part.seq >= source.seq:
        return None
    parts = known.parts | {instance: Part.of(source)}
    new, names = replace(known, parts=parts), counted(known.insights)
    if instance not in names:
        return new
    totals = add([known.totals, source.totals], less=[part.totals] if part is not None else [])
    brought = day_tally(source.changes, [], is_first=source.seq == 1)
    point = _point(known, totals, _not_before(known, source.at), brought)
    point = point.model_copy(update={"source": Source(instance=instance, seq=source.seq)})
    return _pointed(replace(new, product=product), point)


def _point(known: Record, totals: Totals, at: datetime, brought: DayTally) -> Point:
    is_same_day = known.at is not None and known.at.date() == at.date()
    return Point(
        scope=known.scope,
        seq=known.seq + 1,
        at=at,
        totals=totals,
        points=round(totals.score.current - known.totals.score.current, 3),
        max_points=round(totals.score.max - known.totals.score.max, 3),
        stale_instances=totals.stale_instances - known.totals.stale_instances,
        day=known.day.plus(brought) if is_same_day else brought,
    )


def _pointed(record: Record, point: Point) -> Record:
    return replace(record, seq=point.seq, at=point.at, totals=point.totals, day=point.day, outbox=point)


def _not_before(known: Record, moment: datetime) -> datetime:
    return moment if known.at is None else max(known.at, moment)


def _authors(picture: InstancePicture) -> dict[str, tuple[str, str | None]]:
    """Who decided about a control last, and his note; the system where it ended a decision."""
    return {
        item.control.control_id: (SYSTEM, item.decision.ended_detail)
        if item.decision.ended in (Ended.EXPIRED, Ended.REOPENED)
        else (item.decision.author, item.decision.note)
        for item in picture.items
        if item.decision is not None
    }
