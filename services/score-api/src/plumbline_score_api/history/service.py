"""History as people ask for it."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from plumbline_score_api.history.changing import (
    TENANT,
    ControlChange,
    InsightsChange,
    Point,
    Score,
    Totals,
    instance_scope,
    merge,
    product_scope,
)
from plumbline_score_api.history.repository import HistoryRepository
from plumbline_score_api.history.schemas import (
    CompareQuery,
    Comparison,
    HistoryPage,
    HistoryPoint,
    HistoryQuery,
    Resolution,
    ScopeOfHistory,
    of_category,
    shown,
)
from plumbline_score_api.instances.repository import InstanceRepository
from plumbline_score_api.pictures.service import PictureService
from plumbline_score_api.problems import InvalidError, NotFoundError
from plumbline_score_api.recommendations import cursors

RANGE = timedelta(days=90)
MOST_COMPARED = 5_000
DAY = timedelta(days=1)


class HistoryService:
    """History of one tenant."""

    def __init__(self, repository: HistoryRepository, instances: InstanceRepository, pictures: PictureService) -> None:
        self._repository, self._instances, self._pictures = repository, instances, pictures

    async def page(self, tenant: str, query: HistoryQuery) -> HistoryPage:
        """Points of a range, in order. Raises NotFoundError, InvalidError."""
        scope = await self._scope(tenant, query)
        since, until = _range(query.since, query.until)
        name = f"history of {tenant} {scope} {query.category} {query.since} {query.until} {query.resolution}"
        if query.resolution is Resolution.CHANGE:
            return await self._changes(tenant, scope, query, since, until, name)
        return await self._days(tenant, scope, query, since, until, name)

    async def compare(self, tenant: str, query: CompareQuery) -> Comparison:
        """What changed between two moments. Raises NotFoundError, InvalidError."""
        scope = await self._scope(tenant, query)
        since, until = _range(query.since, query.until)
        first = await self._repository.at(tenant, scope, since)
        found = await self._repository.points(tenant, scope, since, until, first.seq if first else 0, MOST_COMPARED + 1)
        if len(found) > MOST_COMPARED:
            raise InvalidError(f"More than {MOST_COMPARED} changes lie between these moments; choose nearer ones.")
        last = found[-1] if found else first
        before, after = (of_category(each.totals if each else Totals(), query.category) for each in (first, last))
        changes, is_whole = await self._merged(tenant, scope, found, query)
        is_first = first is not None or not found or found[0].seq == 1
        return Comparison(
            before=shown(before),
            after=shown(after),
            points=_difference(before.current, after.current),
            max_points=_difference(before.max, after.max),
            changes=changes,
            insights=[change for point in found for change in point.insights] if query.category is None else [],
            is_complete=is_whole and is_first,
        )

    async def _scope(self, tenant: str, query: ScopeOfHistory) -> str:
        """The name of a scope. Raises NotFoundError for one that the tenant does not have, InvalidError for two."""
        if query.instance is not None and query.product is not None:
            raise InvalidError("Give either `product` or `instance`.")
        known = await self._instances.names(tenant)
        if query.instance is not None and query.instance not in known:
            raise NotFoundError(f"No instance {query.instance} is connected.")
        if query.product is not None and query.product not in known.values():
            raise NotFoundError(f"No instance of {query.product} is connected.")
        if query.instance is not None:
            return instance_scope(query.instance)
        return product_scope(query.product) if query.product is not None else TENANT

    # --- by change

    async def _changes(
        self, tenant: str, scope: str, query: HistoryQuery, since: datetime, until: datetime, name: str
    ) -> HistoryPage:
        after = cursors.decode(query.cursor, name, int)[0] if query.cursor else 0
        found = await self._repository.points(tenant, scope, since, until, int(after), query.limit + 1)
        points = found[: query.limit]
        sources = await self._sources(tenant, points)
        categories = await self._categories(tenant, query)
        items = []
        for point in points:
            whole = _whole(point, sources)
            chosen = [change for change in whole or [] if categories is None or change.control_id in categories]
            is_complete = whole is not None
            items.append(_of_change(point, chosen, of_category(point.totals, query.category), is_complete=is_complete))
        more = len(found) > query.limit
        return HistoryPage(items=items, next_cursor=cursors.encode(name, points[-1].seq) if more else None)

    async def _sources(self, tenant: str, points: Iterable[Point]) -> dict[tuple[str, int], Point]:
        return await self._repository.sources(tenant, [point.source for point in points if point.source is not None])

    async def _merged(
        self, tenant: str, scope: str, points: list[Point], query: ScopeOfHistory
    ) -> tuple[list[ControlChange], bool]:
        """One change per control and instance, and whether none is missing."""
        sources = await self._sources(tenant, points)
        wholes = [_whole(point, sources) for point in points]
        categories = await self._categories(tenant, query)
        merged = merge(change for whole in wholes for change in whole or [])
        chosen = [change for change in merged if categories is None or change.control_id in categories]
        return chosen, all(whole is not None for whole in wholes)

    async def _categories(self, tenant: str, query: ScopeOfHistory) -> set[str] | None:
        """The controls of the category that is asked for; None when all are."""
        if query.category is None:
            return None
        items = (await self._pictures.tenant(tenant)).ranked
        return {item.control.control_id for item in items if item.definition.category == query.category}

    # --- by day

    async def _days(
        self, tenant: str, scope: str, query: HistoryQuery, since: datetime, until: datetime, name: str
    ) -> HistoryPage:
        """A day on which nothing changed ended as the one before. Days before the first point are left out."""
        start = since.date()
        if query.cursor:
            start = _day(str(cursors.decode(query.cursor, name, str)[0]))
        known = await self._repository.day_before(tenant, scope, start.isoformat())
        end = until.date()
        if known is None:
            first = await self._repository.days(tenant, scope, start.isoformat(), end.isoformat(), 1)
            start = date.fromisoformat(first[0][0]) if first else end + DAY
        last = min(end, start + DAY * (query.limit - 1))
        found = dict(await self._repository.days(tenant, scope, start.isoformat(), last.isoformat(), query.limit))
        items = []
        for number in range((last - start).days + 1):
            day = start + DAY * number
            known = found.get(day.isoformat(), known)
            if known is not None:
                items.append(_of_day(day, known, of_category(known, query.category)))
        more = last < end
        return HistoryPage(items=items, next_cursor=cursors.encode(name, (last + DAY).isoformat()) if more else None)


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


def _of_change(point: Point, changes: list[ControlChange], score: Score, *, is_complete: bool) -> HistoryPoint:
    insights: list[InsightsChange] = point.insights
    return HistoryPoint(
        **shown(score).model_dump(),
        at=point.at,
        day=point.at.date(),
        **_counts(point.totals),
        points=point.points,
        max_points=point.max_points,
        changes=changes,
        insights=insights,
        is_complete=is_complete,
    )


def _of_day(day: date, totals: Totals, score: Score) -> HistoryPoint:
    return HistoryPoint(
        **shown(score).model_dump(),
        at=None,
        day=day,
        **_counts(totals),
        points=None,
        max_points=None,
        changes=[],
        insights=[],
        is_complete=True,
    )


def _counts(totals: Totals) -> dict[str, object]:
    return totals.model_dump(include={"outcomes", "statuses", "regressed", "stale"})
