"""Records what changed: a point per change of an instance, its product and the tenant, and the change log.

A point is the difference between what was recorded last and what stands now, so nothing is ever missed or told twice,
whatever was killed in between; it is written into the scope's record first and told from there, with those of product
and tenant.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from weakref import WeakValueDictionary

from plumbline_contracts.events import Insights, Product

from plumbline_score_api.changes.changes import Change, change_of_finding, changes_of
from plumbline_score_api.changes.repository import ChangeLogRepository
from plumbline_score_api.decisions.decision import Ended
from plumbline_score_api.findings.feed import FindingEvent, FindingFeed
from plumbline_score_api.findings.repository import Replay
from plumbline_score_api.findings.told import Cause, Look, Told, again, left, looked, reminded
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
from plumbline_score_api.history.record import Record
from plumbline_score_api.history.repository import HistoryRepository
from plumbline_score_api.history.tallies import day_tally
from plumbline_score_api.instances.insights import InsightsService
from plumbline_score_api.pictures.picture import InstancePicture, Recommendation
from plumbline_score_api.pictures.service import PictureService
from plumbline_score_api.problems import ConflictError
from plumbline_score_api.scores.scoring import counted

ATTEMPTS = 20
MOST_KNOWN = 100
Choices = tuple[dict[str, Insights], dict[str, tuple[str | None, str | None]]]
"""Instance to insights, and instance to who chose and why."""
Turn = Callable[[Told, Look], Told]
"""What is told of an instance after a look at it."""
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
        feed: FindingFeed | None = None,
    ) -> None:
        """Without a `feed` nothing is told to SIEMs."""
        self._repository, self._pictures, self._insights = repository, pictures, insights
        self._log, self._partition_of, self._feed = log, partition_of, feed
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._known: OrderedDict[tuple[str, str], Record] = OrderedDict()
        """What this process wrote last, by tenant and scope."""

    async def record(self, tenant: str, instance: str, change: Turn = looked) -> None:
        """Record an instance as it stands. Doing it again changes nothing. Raises ConflictError.

        `change` makes what is told to SIEMs of it.
        """
        for _ in range(ATTEMPTS):
            known, is_read = await self._settled(tenant, instance_scope(instance))
            if known is None:
                continue
            picture = await self._pictures.instance(tenant, instance)
            if picture is None or picture.version.evaluation is None:
                return
            new = await self._with_told(tenant, known, _next(known, picture), picture, change)
            if new is None and is_read:
                return
            if new is not None and (written := await self._repository.replace(tenant, known, new)) is not None:
                await self._tell(tenant, written)
                return
        raise ConflictError(f"The history of {instance} is being written by others.")

    async def remind(self, tenant: str, instance: str) -> None:
        """Record an instance, and tell what time alone has to tell of its findings. Raises ConflictError."""
        await self.record(tenant, instance, reminded)

    async def replay(self, replay: Replay) -> None:
        """Tell all findings of an instance again. Doing it again changes nothing. Raises ConflictError."""

        def change(told: Told, look: Look) -> Told:
            return told if told.replay == replay.request else again(told, look, replay.request, replay.since)

        await self.record(replay.tenant, replay.instance, change)

    async def _with_told(
        self, tenant: str, known: Record, new: Record | None, picture: InstancePicture, change: "Turn"
    ) -> Record | None:
        """The next record with what SIEMs are told; None when there is nothing new at all."""
        if self._feed is None:
            return new
        insights = await self._choice(tenant, known, picture)
        now, revision = datetime.now(UTC), known.revision + 1
        look = Look(tenant, picture, insights, revision, now, self._feed.settings.options)
        told = change(known.told, look)
        if told is known.told:
            return new
        return replace(new or replace(known, product=picture.product), told=told)

    async def _choice(self, tenant: str, known: Record, picture: InstancePicture) -> Insights:
        """Whether the instance counts. Asked for where it is not known: a change of it is recorded by itself."""
        if known.told.insights is not None:
            return known.told.insights
        choices = await self._insights.read(tenant, picture.product)
        return choices.get(picture.instance, Insights.OFF)

    async def record_gone(self, tenant: str, instance: str) -> None:
        """Record that an instance has no controls any more. Doing it again changes nothing. Raises ConflictError."""
        for _ in range(ATTEMPTS):
            known, is_read = await self._settled(tenant, instance_scope(instance))
            if known is None:
                continue
            told = self._left(known.told)
            has_left = not known.states and told is known.told
            if has_left and is_read:
                return
            if not has_left:
                new = replace(_gone(known, instance) if known.states else known, told=told)
                if (written := await self._repository.replace(tenant, known, new)) is not None:
                    await self._tell(tenant, written)
                    return
        raise ConflictError(f"The history of {instance} is being written by others.")

    def _left(self, told: Told) -> Told:
        if self._feed is None or not told.states:
            return told
        now = datetime.now(UTC)
        return left(told, Cause(f"disconnected.{now.isoformat()}", now))

    async def record_all(self, tenant: str) -> None:
        """Record every instance of a tenant. Raises ConflictError."""
        for instance in (await self._pictures.tenant(tenant)).instances:
            await self.record(tenant, instance)

    async def record_insights(self, tenant: str, product: Product) -> None:
        """Record which instances of a product count now. Raises ConflictError."""
        async with self._turn(tenant):
            await self._publish(tenant, await self._aggregate(tenant, product, None))
        if self._feed is not None:
            for instance, insights in (await self._insights.read(tenant, product)).items():
                await self.record(tenant, instance, partial(_counting, insights))

    async def resume(self, tenant: str, scope: str) -> None:
        """Tell the point that waits in a scope's record."""
        self._known.pop((tenant, scope), None)
        await self._settled(tenant, scope)

    async def tell(self, tenant: str, instance: str, changes: list[Change]) -> None:
        """Add what happened to an instance to the change log. Doing it again changes nothing. Raises BusyLogError."""
        await self._log.append(tenant, self._partition_of(f"{tenant}/{instance}"), changes)

    def _turn(self, tenant: str) -> asyncio.Lock:
        """Those of this process that add to a tenant's scopes take turns, instead of overtaking each other."""
        return self._locks.setdefault(tenant, asyncio.Lock())

    async def _settled(self, tenant: str, scope: str) -> tuple[Record | None, bool]:
        """The record, if its outbox is empty, else None, with the point told; and whether it was read just now.

        A record that this process wrote is not read again before it is written again, which finds out whether others
        wrote meanwhile. That nothing is new is believed only of one that was read.
        """
        known = self._known.pop((tenant, scope), None)
        if known is not None:
            return known, False
        record = await self._repository.record(tenant, scope)
        if not record.is_pending:
            return record, True
        if record.outbox is not None and scope_instance(scope) is not None:
            # somebody was killed: what it tells comes before what it adds up to
            await self._bring(tenant, [(record, record.outbox)])
        await self._tell(tenant, record)
        return None, True

    async def _tell(self, tenant: str, record: Record) -> None:
        """Tell the point in the outbox of a record; that of an instance also to the scopes that it belongs to."""
        if scope_instance(record.scope) is None:
            await self._publish(tenant, [record])
            return
        async with self._turn(tenant):
            product = Product(str(record.product))
            aggregated = await self._aggregate(tenant, product, record.outbox) if record.outbox is not None else []
            await self._publish(tenant, [record, *aggregated])

    async def _publish(self, tenant: str, records: list[Record]) -> None:
        """Bring what waits in records to history, change log and SIEMs, and empty the outboxes."""
        waiting = [(record, record.outbox) for record in records if record.outbox is not None]
        events = [each for record in records for each in await self._events(tenant, record)]
        if waiting or events:
            await self._bring(tenant, waiting, events)
        if self._feed is not None:
            await self._feed.send(tenant, events)
        if pending := [record for record in records if record.is_pending]:
            await self._repository.told(tenant, pending)
        self._known |= {(tenant, record.scope): record.settled for record in records}
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    async def _events(self, tenant: str, record: Record) -> list[FindingEvent]:
        """What waits of an instance's findings, written out."""
        instance = scope_instance(record.scope)
        if self._feed is None or instance is None or not record.told.waiting:
            return []
        return await self._feed.written(tenant, instance, Product(str(record.product)), record.told)

    async def _bring(
        self, tenant: str, waiting: list[tuple[Record, Point]], events: Sequence[FindingEvent] = ()
    ) -> None:
        """Bring points to history and change log, and events to the log. Doing it again changes nothing."""
        if waiting:
            await self._repository.add(tenant, [point for _, point in waiting])
        told: dict[int, list[Change]] = {}
        for record, point in waiting:
            changes = changes_of(point, scope_instance(record.scope))
            told.setdefault(self._partition(tenant, record, point), []).extend(changes)
        for each in events:
            partition = self._partition_of(f"{tenant}/{each.instance}")
            change = change_of_finding(
                each.instance, each.control_id, each.telling.event_uid, each.telling.at, each.event
            )
            told.setdefault(partition, []).append(change)
        for partition, found in told.items():
            await self._log.append(tenant, partition, found)

    def _partition(self, tenant: str, record: Record, point: Point) -> int:
        instance = scope_instance(record.scope) or (point.source.instance if point.source is not None else None)
        return self._partition_of(f"{tenant}/{instance or record.product}")

    async def _aggregate(self, tenant: str, product: Product, source: Point | None) -> list[Record]:
        """The product's record and the tenant's with what is to be told of a point of an instance, or of insights."""
        choices = await self._insights.read_with_authors(tenant, product)
        written = [
            await self._aggregate_one(tenant, scope, product, choices, source)
            for scope in (product_scope(product), TENANT)
        ]
        return [record for record in written if record is not None]

    async def _aggregate_one(
        self, tenant: str, scope: str, product: Product, choices: Choices, source: Point | None
    ) -> Record | None:
        """Bring a scope of several instances up to date; its record with a point to tell, None when there is none."""
        for _ in range(ATTEMPTS):
            known, is_read = await self._settled(tenant, scope)
            if known is None:
                continue
            if is_read:  # the choices must be no older than the record
                choices = await self._insights.read_with_authors(tenant, product)
            new = _with_insights(known, product, choices)
            is_last = new is None or source is None
            if new is None and source is not None:
                new = _with_part(known, source, product)
            if new is None and is_read:
                return None
            written = await self._repository.replace(tenant, known, new) if new is not None else None
            if written is None:
                continue
            if is_last and written.outbox is not None:
                return written
            await self._publish(tenant, [written])
            if is_last:
                return None
        raise ConflictError(f"The history of {scope} is being written by others.")


def _counting(insights: Insights, told: Told, look: Look) -> Told:
    """With what the choice that the instance counts, or does not, tells."""
    return looked(told, replace(look, insights=insights))


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


def _with_insights(known: Record, product: Product, choices: Choices) -> Record | None:
    """The record with the insights of now, with a point if that matters; None when they are known."""
    live, authors = choices
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
    return _pointed(replace(new, product=product), point.model_copy(update={"insights": changes}))


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
