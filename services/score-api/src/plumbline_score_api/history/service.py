"""History as people ask for it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.history.changing import (
    TENANT,
    ControlChange,
    InsightsChange,
    Point,
    State,
    Tally,
    Totals,
    instance_scope,
    merge,
    product_scope,
    undo,
)
from plumbline_score_api.history.repository import HistoryRepository
from plumbline_score_api.history.schemas import (
    CompareQuery,
    Comparison,
    ExpiryDay,
    HistoryPage,
    HistoryPoint,
    HistoryQuery,
    RangeQuery,
    Resolution,
    ScopeOfHistory,
    TrendDay,
    Trends,
    shown,
)
from plumbline_score_api.history.slices import Slice
from plumbline_score_api.instances.repository import InstanceRepository
from plumbline_score_api.pictures.picture import Recommendation
from plumbline_score_api.problems import InvalidError, NotFoundError
from plumbline_score_api.recommendations import cursors
from plumbline_score_api.scores.schemas import ScopeQuery
from plumbline_score_api.scores.service import Scene, ScoreService
from plumbline_score_api.zones.service import ZoneService
from plumbline_score_api.zones.zone import ZoneLimits

RANGE = timedelta(days=90)
MOST_COMPARED = 5_000
DAY = timedelta(days=1)


@dataclass(frozen=True)
class DayOfScope:
    """How a day ended, and what it brought a slice of the scope."""

    day: date
    totals: Totals
    tally: Tally


@dataclass(frozen=True)
class Moment:
    """An instance at one moment."""

    states: Mapping[str, State]
    totals: Totals


class HistoryService:
    """History of one tenant."""

    def __init__(
        self, repository: HistoryRepository, instances: InstanceRepository, scores: ScoreService, zones: ZoneService
    ) -> None:
        self._repository, self._instances, self._scores, self._zones = repository, instances, scores, zones

    async def page(self, tenant: str, query: HistoryQuery) -> HistoryPage:
        """Points of a range, in order. Raises NotFoundError, InvalidError."""
        scope = await self._scope(tenant, query)
        if query.resolution is Resolution.CHANGE:
            return await self._changes(tenant, scope, query)
        part, limits = _slice(query), await self._zones.limits(tenant)
        days, cursor = await self._days(tenant, scope, query, f"history of {tenant} {scope} day")
        return HistoryPage(items=[_of_day(each, part, limits) for each in days], next_cursor=cursor)

    async def trends(self, tenant: str, query: RangeQuery) -> Trends:
        """Days of a range, in order, with what each brought. Raises NotFoundError, InvalidError."""
        scope, part = await self._scope(tenant, query), _slice(query)
        days, cursor = await self._days(tenant, scope, query, f"trends of {tenant} {scope}")
        scene = await self._scores.scene(tenant)
        accepted = [item for item in _items(scene, query) if item.status is Status.RISK_ACCEPTED]
        expiring = _expiring(accepted)
        return Trends(
            items=[_trend(each, part, scene.limits) for each in days],
            next_cursor=cursor,
            expiring=expiring,
            without_expiry=len(accepted) - sum(each.count for each in expiring),
        )

    async def compare(self, tenant: str, query: CompareQuery) -> Comparison:
        """What changed between two moments. Raises NotFoundError, InvalidError."""
        scope, part = await self._scope(tenant, query), _slice(query)
        since, until = _range(query.since, query.until)
        first = await self._repository.at(tenant, scope, since)
        found = await self._since(tenant, scope, first, since, until)
        last = found[-1] if found else first
        before, after = (part.sums(each.totals if each else Totals()).score for each in (first, last))
        wholes = await self._wholes(tenant, found)
        changes = part.changes(merge(change for whole in wholes for change in whole or []))
        limits = await self._zones.limits(tenant)
        return Comparison(
            before=shown(before, limits),
            after=shown(after, limits),
            points=_difference(before.current, after.current),
            max_points=_difference(before.max, after.max),
            changes=changes,
            insights=part.insights(change for point in found for change in point.insights),
            is_complete=None not in wholes and (first is not None or not found or found[0].seq == 1),
        )

    async def moment(self, tenant: str, instance: str, at: datetime) -> Moment:
        """An instance at a moment that is not in the future.

        Raises InvalidError when it was never evaluated until then, or the history does not reach back so far.
        """
        scope = instance_scope(instance)
        record = await self._repository.record(tenant, scope)
        then = await self._repository.at(tenant, scope, at)
        if then is None or then.seq > record.seq:
            oldest = await self._repository.first(tenant, scope)
            since = f"; what is known of it begins {oldest.at:%Y-%m-%d %H:%M} UTC" if oldest is not None else ""
            raise InvalidError(f"What {instance} was like at that moment is not known{since}.")
        until = max(datetime.now(UTC), record.at or then.at)
        later = {point.seq: point for point in await self._since(tenant, scope, then, at, until)}
        if record.outbox is not None and record.seq > then.seq:
            later[record.seq] = record.outbox
        points = [later[seq] for seq in sorted(later) if seq <= record.seq]
        return Moment(undo(record.states, points), then.totals)

    async def _since(
        self, tenant: str, scope: str, first: Point | None, since: datetime, until: datetime
    ) -> list[Point]:
        """The points behind one, up to a moment. Raises InvalidError when they are too many."""
        seq = first.seq if first is not None else 0
        found = await self._repository.points(tenant, scope, since, until, seq, MOST_COMPARED + 1)
        if len(found) > MOST_COMPARED:
            raise InvalidError(f"More than {MOST_COMPARED} changes lie between these moments; choose nearer ones.")
        return found

    async def _scope(self, tenant: str, query: ScopeOfHistory) -> str:
        """The name of a scope. Raises NotFoundError for one that the tenant does not have, InvalidError for two."""
        if query.instance is not None and query.product is not None:
            raise InvalidError("Give either `product` or `instance`.")
        if query.category is not None and query.framework is not None:
            raise InvalidError("Give either `category` or `framework`.")
        known = await self._instances.ever(tenant)
        if query.instance is not None and query.instance not in known:
            raise NotFoundError(f"No instance {query.instance} is connected.")
        if query.product is not None and query.product not in known.values():
            raise NotFoundError(f"No instance of {query.product} is connected.")
        if query.instance is not None:
            return instance_scope(query.instance)
        return product_scope(query.product) if query.product is not None else TENANT

    # --- by change

    async def _changes(self, tenant: str, scope: str, query: HistoryQuery) -> HistoryPage:
        since, until = _range(query.since, query.until)
        name = f"history of {tenant} {scope} change {_place(query)}"
        after = cursors.decode(query.cursor, name, int)[0] if query.cursor else 0
        found = await self._repository.points(tenant, scope, since, until, int(after), query.limit + 1)
        points, part = found[: query.limit], _slice(query)
        wholes, limits = await self._wholes(tenant, points), await self._zones.limits(tenant)
        return HistoryPage(
            items=[_of_change(point, whole, part, limits) for point, whole in zip(points, wholes, strict=True)],
            next_cursor=cursors.encode(name, points[-1].seq) if len(found) > query.limit else None,
        )

    async def _wholes(self, tenant: str, points: list[Point]) -> list[list[ControlChange] | None]:
        """What changed at each point; None where retention has deleted it."""
        sources = await self._repository.sources(tenant, [point.source for point in points if point.source is not None])
        return [_whole(point, sources) for point in points]

    # --- by day

    async def _days(self, tenant: str, scope: str, query: RangeQuery, name: str) -> tuple[list[DayOfScope], str | None]:
        """Days of the range, and the cursor of the next page.

        A day on which nothing changed ended as the one before. Days before the first point are left out.
        """
        since, until = _range(query.since, query.until)
        name = f"{name} {_place(query)}"
        start, end, part = since.date(), until.date(), _slice(query)
        if query.cursor:
            start = _day(str(cursors.decode(query.cursor, name, str)[0]))
        known = await self._repository.day_before(tenant, scope, start.isoformat())
        if known is None:
            first = await self._repository.days(tenant, scope, start.isoformat(), end.isoformat(), 1)
            start = date.fromisoformat(first[0][0]) if first else end + DAY
        last = min(end, start + DAY * (query.limit - 1))
        found = dict(await self._repository.days(tenant, scope, start.isoformat(), last.isoformat(), query.limit))
        days = []
        for number in range((last - start).days + 1):
            day = start + DAY * number
            changed = found.get(day.isoformat())
            known = changed.totals if changed is not None else known
            if known is not None:
                days.append(DayOfScope(day, known, part.tally(changed.tally) if changed is not None else Tally()))
        return days, cursors.encode(name, (last + DAY).isoformat()) if last < end else None


def _slice(query: ScopeOfHistory) -> Slice:
    return Slice(query.category.value if query.category is not None else None, query.framework)


def _place(query: RangeQuery) -> str:
    """What a cursor holds for, beside the scope."""
    return f"{query.category} {query.framework} {query.since} {query.until}"


def _range(since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    """The range that is asked for, which ends now at the latest. Raises InvalidError."""
    now = datetime.now(UTC)
    end = min(until or now, now)
    try:
        start = since or end - RANGE
    except OverflowError as error:
        raise InvalidError("`until` lies too far back.") from error
    if start > end:
        raise InvalidError("`since` is after `until`, or in the future.")
    return start, end


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidError("The cursor is not one of this list; start again without it.") from error


def _whole(point: Point, sources: dict[tuple[str, int], Point]) -> list[ControlChange] | None:
    """What changed at a point; None when retention has deleted it."""
    if point.source is None:
        return point.changes
    source = sources.get((point.source.instance, point.source.seq))
    return source.changes if source is not None else None


def _difference(before: float, after: float) -> float:
    return round(after - before, 3)


def _of_change(point: Point, whole: list[ControlChange] | None, part: Slice, limits: ZoneLimits) -> HistoryPoint:
    sums, changes, insights = part.sums(point.totals), part.changes(whole or []), part.insights(point.insights)
    points, most = _points(point, part, [*changes, *insights] if whole is not None else None)
    return HistoryPoint(
        **shown(sums.score, limits).model_dump(),
        **sums.model_dump(include={"outcomes", "statuses", "regressed", "stale"}),
        at=point.at,
        day=point.at.date(),
        points=points,
        max_points=most,
        changes=changes,
        insights=insights,
        is_complete=whole is not None,
    )


def _points(
    point: Point, part: Slice, told: Iterable[ControlChange | InsightsChange] | None
) -> tuple[float | None, float | None]:
    """Achieved and possible points that a change brought a slice; None where it is not known."""
    if part.is_whole:
        return point.points, point.max_points
    if told is None:
        return None, None
    known = list(told)
    return round(sum(each.points for each in known), 3), round(sum(each.max_points for each in known), 3)


def _of_day(day: DayOfScope, part: Slice, limits: ZoneLimits) -> HistoryPoint:
    sums = part.sums(day.totals)
    return HistoryPoint(
        **shown(sums.score, limits).model_dump(),
        **sums.model_dump(include={"outcomes", "statuses", "regressed", "stale"}),
        at=None,
        day=day.day,
        points=None,
        max_points=None,
        changes=[],
        insights=[],
        is_complete=True,
    )


# --- trends


def _trend(day: DayOfScope, part: Slice, limits: ZoneLimits) -> TrendDay:
    sums = part.sums(day.totals)
    accepted = sums.statuses.get(Status.RISK_ACCEPTED, 0)
    return TrendDay.of(day.day, shown(sums.score, limits), sums.regressed, accepted, day.tally)


def _items(scene: Scene, query: ScopeOfHistory) -> list[Recommendation]:
    """The recommendations in scope as they are now. Raises NotFoundError."""
    pictures = scene.chosen(ScopeQuery(product=query.product, instance=query.instance))
    items = (item for picture in pictures for item in picture.items)
    return [
        item
        for item in items
        if query.category in (None, item.definition.category)
        and (query.framework is None or item.definition.frameworks.get(query.framework))
    ]


def _expiring(accepted: Iterable[Recommendation]) -> list[ExpiryDay]:
    days: dict[date, list[float]] = {}
    for item in accepted:
        if item.decision is not None and item.decision.expires_at is not None:
            forgone = item.points.maximum - item.points.achievable
            days.setdefault(item.decision.expires_at.astimezone(UTC).date(), []).append(forgone)
    return [ExpiryDay(day=day, count=len(points), points=round(sum(points), 3)) for day, points in sorted(days.items())]
