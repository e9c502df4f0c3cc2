"""Former days of a tenant: the score of each from the history, and on request the controls that made it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
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
LONGEST_STEP = timedelta(days=7)
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
        walk, reached = None, today + DAY
        for day in days:
            if not 0 < (today - day.day).days <= DETAILED_DAYS:
                yield day, None
                continue
            if walk is None:
                walk = await self._now(tenant)
            for first, last in _steps(day.day, reached):
                await self._undo(tenant, walk, first, last)
            reached = day.day + DAY
            controls = walk.past.controls()
            score = Score(current=day.current, max=day.maximum)
            yield day, controls if adds_up(controls, score) else None

    async def _now(self, tenant: str) -> "_Walk":
        record = await self._records.record(tenant, TENANT)
        names = sorted(record.parts.keys() | record.insights.keys())
        found = await self._past.states(tenant, names)
        past = Past(
            {name: states for name, (_, states, _) in found.items()},
            counted(record.insights),
            {name: number for name, (number, _, _) in found.items()},
            record.seq,
        )
        untold = [point for _, _, point in found.values() if point is not None]
        return _Walk(past, names, untold, [record.outbox] if record.outbox is not None else [])

    async def _undo(self, tenant: str, walk: "_Walk", first: date, last: date) -> None:
        """Go back before all that happened from `first` to `last`, both included."""
        since, until = _start(first), _end(last)
        of_tenant = [point for point in walk.untold_of_tenant if since <= point.at <= until]
        after = 0
        while True:
            page = await self._records.points(tenant, TENANT, since, until, after, POINTS_AT_ONCE)
            of_tenant += page
            if len(page) < POINTS_AT_ONCE:
                break
            after = page[-1].seq
        sources = await self._records.sources(tenant, [point.source for point in of_tenant if point.source is not None])
        of_instances = await self._past.points(tenant, walk.names, since, until)
        untold = [point for point in walk.untold if since <= point.at <= until]
        walk.past.undo(of_tenant, [*sources.values(), *of_instances, *untold])


@dataclass(frozen=True)
class _Walk:
    """Where a walk into the past stands; points that are not told yet are in no collection."""

    past: Past
    names: list[str]
    untold: list[Point]
    untold_of_tenant: list[Point]


def _steps(target: date, reached: date) -> list[tuple[date, date]]:
    """The days behind `target` and before `reached`, the newest first, a few at once."""
    found = []
    end = reached - DAY
    while end > target:
        start = max(target + DAY, end - LONGEST_STEP + DAY)
        found.append((start, end))
        end = start - DAY
    return found


def _start(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _end(day: date) -> datetime:
    return datetime.combine(day, time.max, UTC)
