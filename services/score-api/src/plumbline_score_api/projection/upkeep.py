"""What the projector does between records: what time brings, and what something that was killed has left to do.

The replica that owns the partition of a key does it; two that both believe so do no harm.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from plumbline_contracts.events import Product

from plumbline_score_api.changes.repository import BusyLogError, ChangeLogRepository
from plumbline_score_api.decisions.repository import DecisionRepository
from plumbline_score_api.decisions.service import DecisionService
from plumbline_score_api.findings.repository import FindingRepository, Replay
from plumbline_score_api.history.recording import Recorder
from plumbline_score_api.history.repository import HistoryRepository
from plumbline_score_api.instances.disconnecting import ClosingService
from plumbline_score_api.instances.insights import InsightsService
from plumbline_score_api.instances.repository import InsightsRepository
from plumbline_score_api.problems import ConflictError, UnavailableError
from plumbline_score_api.projection.service import ProjectionService
from plumbline_score_api.zones.repository import ZoneRepository
from plumbline_score_api.zones.service import ZoneService

log = structlog.get_logger(__name__)

PRUNE_SECONDS = 3600.0
REPLAYS_AT_ONCE = 5
"""Of instances, in one round: what is new does not wait behind everything that is told again."""
LATER = (ConflictError, UnavailableError, BusyLogError)
"""Somebody else is at it, or it cannot be read at this moment: the next round tries again."""
Owns = Callable[[str], bool]
Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Retention:
    """For how long things are kept; None is for ever."""

    points: timedelta | None
    days: timedelta | None
    changes: timedelta


@dataclass(frozen=True)
class Upkeep:
    """What is due, over all tenants."""

    projection: ProjectionService
    decisions: DecisionService
    insights: InsightsService
    zones: ZoneService
    recorder: Recorder
    decision_store: DecisionRepository
    insights_store: InsightsRepository
    zone_store: ZoneRepository
    history: HistoryRepository
    changes: ChangeLogRepository
    closing: ClosingService
    retention: Retention
    findings: FindingRepository | None = None
    """Where SIEMs are told of findings."""

    async def round(self, owns: Owns, now: datetime) -> None:
        """Do everything that is due now."""
        async for name, key, work in self._due(now):
            if not owns(key):
                continue
            try:
                await work()
            except LATER as error:
                log.warning("something is due and waits", what=name, key=key, problem=str(error))

    async def _due(self, now: datetime) -> AsyncIterator[tuple[str, str, Work]]:
        """What it is, the key that decides who does it, and the work."""
        for tenant, instance in await self.closing.pending():
            yield "disconnection", f"{tenant}/{instance}", partial(self.closing.finish, tenant, instance)
        for tenant, instance in await self.projection.unsettled():
            yield "switch", f"{tenant}/{instance}", partial(self.projection.follow, tenant, instance)
        for tenant, instance in await self.projection.due(now):
            yield "age", f"{tenant}/{instance}", partial(self.projection.age, tenant, instance, now)
        for tenant, named in await self.decision_store.due(now):
            yield "expiry", _key(tenant, named), partial(self.decisions.expire, tenant, named, now)
        for tenant, named, revision in await self.decision_store.unrecorded():
            yield "decisions", _key(tenant, named), partial(self._record_decisions, tenant, named, revision)
        for tenant, named in await self.decision_store.pending():
            yield "audit", _key(tenant, named), partial(self.decisions.tell, tenant, named)
        for tenant, product, revision in await self.insights_store.unrecorded():
            yield "insights", f"{tenant}/{product}", partial(self._record_insights, tenant, product, revision)
        for tenant, product in await self.insights_store.pending():
            yield "audit", f"{tenant}/{product}", partial(self.insights.tell, tenant, product)
        for tenant in await self.zone_store.pending():
            yield "audit", tenant, partial(self.zones.tell, tenant)
        for tenant, scope in await self.history.pending():
            yield "history", f"{tenant}/{scope.rpartition(':')[2]}", partial(self.recorder.resume, tenant, scope)
        async for due in self._findings_due(now):
            yield due

    async def _findings_due(self, now: datetime) -> AsyncIterator[tuple[str, str, Work]]:
        if self.findings is None:
            return
        for tenant, instance in await self.history.findings_due(now):
            yield "findings", f"{tenant}/{instance}", partial(self.recorder.remind, tenant, instance)
        for replay in (await self.findings.requested())[:REPLAYS_AT_ONCE]:
            yield "replay", f"{replay.tenant}/{replay.instance}", partial(self._replay, self.findings, replay)

    async def _replay(self, findings: FindingRepository, replay: Replay) -> None:
        await self.recorder.replay(replay)
        await findings.replayed(replay.tenant, replay)

    async def _record_decisions(self, tenant: str, instance: str | None, revision: int) -> None:
        """Templates reach the instances, whose decisions are recorded then."""
        if instance is None:
            await self.decisions.spread(tenant)
            await self.recorder.record_all(tenant)
        else:
            await self.recorder.record(tenant, instance)
        await self.decision_store.recorded(tenant, instance, revision)

    async def _record_insights(self, tenant: str, product: Product, revision: int) -> None:
        await self.recorder.record_insights(tenant, product)
        await self.insights_store.recorded(tenant, product, revision)

    async def prune(self, now: datetime) -> None:
        """Delete what is older than it is kept."""
        keep = self.retention
        day = f"{now - keep.days:%Y-%m-%d}" if keep.days is not None else None
        await self.history.prune(now - keep.points if keep.points is not None else None, day)
        if keep.points is not None:
            await self.projection.prune(now - keep.points)
        await self.changes.prune(now - keep.changes)


class Clockwork:
    """Calls the upkeep at its times."""

    def __init__(self, upkeep: Upkeep, owns: Owns) -> None:
        self._upkeep, self._owns = upkeep, owns
        self._pruned_at = float("-inf")

    async def turn(self) -> None:
        """One round; the prune every hour, by whoever comes first."""
        await self._upkeep.round(self._owns, datetime.now(UTC))
        if time.monotonic() - self._pruned_at >= PRUNE_SECONDS:
            await self._upkeep.prune(datetime.now(UTC))
            self._pruned_at = time.monotonic()


def _key(tenant: str, instance: str | None) -> str:
    return tenant if instance is None else f"{tenant}/{instance}"
