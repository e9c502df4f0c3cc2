"""Former days of a tenant: the score of each from the history, and on request the controls that made it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from plumbline_score_api.graph.past import Past, adds_up
from plumbline_score_api.graph.repository import PastRepository
from plumbline_score_api.history.changing import TENANT, Point, Score, State
from plumbline_score_api.history.repository import HistoryRepository
from plumbline_score_api.history.schemas import HistoryQuery
from plumbline_score_api.history.service import HistoryService
from plumbline_score_api.scores.scoring import counted

DAY = timedelta(days=1)
MOST_DAYS = 3_660
DETAILED_DAYS = 90
"""For how many days back the controls are made out: as long as Microsoft holds a score at all."""
MOST_LOADED = 8
"""Of how many days the changes are held at once, beside those of the day itself."""
POINTS_AT_ONCE = 500
Controls = Mapping[str, Mapping[str, State]]


@dataclass(frozen=True)
class Day:
    """How a day ended, or for today stands."""

    day: date
    current: float
    maximum: float


class DayService:
    """Days of all tenants."""

    def __init__(self, history: HistoryService, records: HistoryRepository, past: PastRepository) -> None:
        self._history, self._records, self._past = history, records, past

    async def between(self, tenant: str, oldest: date, newest: date) -> list[Day]:
        """The days from `oldest` to `newest` that there are, the newest first."""
        found: list[Day] = []
        cursor = None
        while oldest <= newest:
            query = HistoryQuery(since=_start(oldest), until=_end(newest), limit=1_000, cursor=cursor)
            page = await self._history.page(tenant, query)
            found += [Day(item.day, item.current, item.max) for item in page.items]
            if (cursor := page.next_cursor) is None:
                break
        return found[::-1]

    async def with_controls(
        self, tenant: str, today: date, days: Sequence[Day]
    ) -> AsyncIterator[tuple[Day, Controls | None]]:
        """Days, which come the newest first, each with what stood at its end.

        None for today, for what is not known any more, and for days further back than `DETAILED_DAYS`.
        """
        walk = None
        for day in days:
            if not 0 < (today - day.day).days <= DETAILED_DAYS:
                yield day, None
                continue
            if walk is None:
                walk = await self._now(tenant, today)
            while walk.loaded > day.day + DAY:
                await self._load(tenant, walk)
            walk.undo_since(_start(day.day + DAY))
            controls = walk.past.controls()
            score = Score(current=day.current, max=day.maximum)
            yield day, controls if adds_up(controls, score) else None

    async def _now(self, tenant: str, today: date) -> "_Walk":
        record = await self._records.record(tenant, TENANT)
        names = sorted(record.parts.keys() | record.insights.keys())
        found = await self._past.states(tenant, names)
        past = Past(
            {name: states for name, (_, states, _) in found.items()},
            counted(record.insights),
            {name: number for name, (number, _, _) in found.items()},
            record.seq,
        )
        walk = _Walk(past, names, today + DAY)
        walk.own += [point for _, _, point in found.values() if point is not None]
        await self._add(tenant, walk, [record.outbox] if record.outbox is not None else [])
        return walk

    async def _load(self, tenant: str, walk: "_Walk") -> None:
        """Load some more days: one, then two, then four, at most `MOST_LOADED`."""
        first = walk.loaded - walk.next_size * DAY
        since, until, after = _start(first), _end(walk.loaded - DAY), 0
        while True:
            page = await self._records.points(tenant, TENANT, since, until, after, POINTS_AT_ONCE)
            await self._add(tenant, walk, page)
            if len(page) < POINTS_AT_ONCE:
                break
            after = page[-1].seq
        walk.own += await self._past.points(tenant, walk.names, since, until)
        walk.loaded, walk.next_size = first, min(walk.next_size * 2, MOST_LOADED)

    async def _add(self, tenant: str, walk: "_Walk", points: Sequence[Point]) -> None:
        """Add points of the tenant with the points of instances that made them."""
        names = [point.source for point in points if point.source is not None]
        sources = await self._records.sources(tenant, names)
        for point in points:
            name = point.source
            walk.of_tenant.append((point, sources.get((name.instance, name.seq)) if name is not None else None))


@dataclass
class _Walk:
    """Where a walk into the past stands: what is loaded, from `loaded` on, and not undone yet."""

    past: Past
    names: list[str]
    loaded: date
    next_size: int = 1
    of_tenant: list[tuple[Point, Point | None]] = field(default_factory=list)
    own: list[Point] = field(default_factory=list)

    def undo_since(self, moment: datetime) -> None:
        """Go back before a moment; all from there on is loaded."""
        later = [pair for pair in self.of_tenant if pair[0].at >= moment]
        sources = [source for _, source in later if source is not None]
        own = [point for point in self.own if point.at >= moment]
        self.past.undo([point for point, _ in later], [*sources, *own])
        self.of_tenant = [pair for pair in self.of_tenant if pair[0].at < moment]
        self.own = [point for point in self.own if point.at < moment]


def _start(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _end(day: date) -> datetime:
    return datetime.combine(day, time.max, UTC)
