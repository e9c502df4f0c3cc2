"""Projects events: stages parts, and when an evaluation is whole, switches the readers over to it."""

from collections import Counter as Tally
from datetime import UTC, datetime
from typing import Any

import structlog
from plumbline_contracts import envelope
from plumbline_contracts.events import ControlDefinition, ControlResult, ControlResults, InstanceStatus
from prometheus_client import Counter, Gauge

from plumbline_score_api.history.repository import HistoryRepository
from plumbline_score_api.instances.insights import InsightsService
from plumbline_score_api.projection.findings import Finding, settle
from plumbline_score_api.projection.repository import EXPOSED_PER_DOCUMENT, ProjectionRepository, evaluation_key
from plumbline_score_api.scores.scoring import points_of, total

log = structlog.get_logger(__name__)

SWITCHED = Counter("plumbline_score_api_evaluations_projected_total", "Evaluations that readers were switched to")
IGNORED = Counter("plumbline_score_api_evaluations_ignored_total", "Whole evaluations that were not newer")
PROJECTION_AGE = Gauge(
    "plumbline_score_api_projection_age_seconds", "Age of the newest projected evaluation at its switch"
)


class UnknownDefinitionsError(Exception):
    """The evaluation names control definitions that have not arrived yet: wait, then try again."""


class LostSwitchError(Exception):
    """Two replicas hold one partition for a moment. The record is read again by its owner."""


class ProjectionService:
    """What the projector does with each event. Doing it again changes nothing."""

    def __init__(self, repository: ProjectionRepository, insights: InsightsService, history: HistoryRepository) -> None:
        self._repository, self._insights, self._history = repository, insights, history

    async def take_definition(self, definitions: list[ControlDefinition]) -> None:
        """Keep definitions."""
        await self._repository.write_definitions(definitions)

    async def take_status(self, status: InstanceStatus) -> None:
        """Keep the newest status; a new instance gets its insights."""
        await self._repository.write_status(status.tenant, status)
        await self._insights.register(status.tenant, status.product, status.instance, status.insights)

    async def take_part(self, part: ControlResults) -> None:
        """Stage a part and, when its evaluation is whole now, apply it.

        Raises BadRecordError for a snapshot of the future, UnknownDefinitionsError when definitions are missing.
        """
        envelope.refuse_future(part.snapshot_started_at, now=datetime.now(UTC), what="the snapshot's start")
        key, tenant, instance = evaluation_key(part), part.tenant, part.instance
        if not self._is_newer(part, await self._repository.current(tenant, instance)):
            IGNORED.inc(part.part_count is not None)
            return
        await self._repository.stage(tenant, part)
        if await self._repository.is_whole(tenant, instance, key):
            await self._apply(tenant, instance, key)

    @staticmethod
    def _is_newer(part: ControlResults, current: dict[str, Any] | None) -> bool:
        """By (snapshot start, catalogue generation, evaluation id); of one evaluation the first whole one stands."""
        if current is None:
            return True
        mine = (part.snapshot_started_at, part.catalogue_generation, part.evaluation_id)
        return mine > (current["started_at"], current["generation"], current["evaluation_id"])

    async def _apply(self, tenant: str, instance: str, key: str) -> None:
        last, results = await self._gather(tenant, instance, key)
        definitions = await self._definitions(results)
        former = await self._repository.current(tenant, instance)
        former_key = former["key"] if former else None
        before = await self._repository.findings(tenant, instance, former_key) if former_key else {}
        findings = settle(before, results, definitions, last.snapshot_started_at)
        for finding in findings:
            if finding.stale_since is not None and former_key:
                await self._repository.move_exposed(tenant, instance, former_key, key, finding.result.control_id)
        await self._repository.write_findings(tenant, instance, last.product, key, findings)
        current = _pointer(key, last, findings)
        if not await self._repository.switch(tenant, instance, last.product, former_key, current):
            raise LostSwitchError(f"{tenant}/{instance}: another replica switched this instance at the same moment")
        await self._after_switch(tenant, instance, last, current, former)

    async def _gather(self, tenant: str, instance: str, key: str) -> tuple[ControlResults, list[ControlResult]]:
        """The last part and the results of all; the exposed entities go to their documents on the way."""
        written: Tally[str] = Tally()
        results: list[ControlResult] = []
        number = 0
        while True:
            part = await self._repository.part(tenant, instance, key, number)
            results += part.results
            await self._write_exposed(tenant, instance, key, part, written)
            if part.part_count is not None:
                return part, results
            number += 1

    async def _write_exposed(
        self, tenant: str, instance: str, key: str, part: ControlResults, written: "Tally[str]"
    ) -> None:
        for group in part.exposed:
            for start in range(0, len(group.entities), EXPOSED_PER_DOCUMENT):
                entities = group.entities[start : start + EXPOSED_PER_DOCUMENT]
                number = written[group.control_id]
                await self._repository.write_exposed(tenant, instance, key, group.control_id, number, entities)
                written[group.control_id] += 1

    async def _definitions(self, results: list[ControlResult]) -> dict[str, ControlDefinition]:
        wanted = {result.control_id: f"{result.control_id}@{result.control_digest}" for result in results}
        found = await self._repository.definitions(list(wanted.values()))
        if missing := wanted.keys() - found.keys():
            raise UnknownDefinitionsError(f"{len(missing)} control definitions have not arrived yet")
        return found

    async def _after_switch(
        self, tenant: str, instance: str, last: ControlResults, current: dict[str, Any], former: dict[str, Any] | None
    ) -> None:
        SWITCHED.inc()
        PROJECTION_AGE.set((datetime.now(UTC) - last.snapshot_started_at).total_seconds())
        await self._insights.register(tenant, last.product, instance, None)
        if former is None or former["score"] != current["score"]:
            await self._history.add(tenant, instance, last.product, current)
        keep = [current["key"], *([former["key"]] if former else [])]
        await self._repository.forget(tenant, instance, keep, last.snapshot_started_at)
        log.info("evaluation projected", tenant=tenant, instance=instance, **current["score"])


def _pointer(key: str, last: ControlResults, findings: list[Finding]) -> dict[str, Any]:
    score = total(points_of(finding.measured) for finding in findings)
    outcomes = Tally(str(finding.result.outcome) for finding in findings)
    return {
        "key": key,
        "evaluation_id": last.evaluation_id,
        "snapshot_id": last.snapshot_id,
        "started_at": last.snapshot_started_at,
        "generation": last.catalogue_generation,
        "catalogue_digest": last.catalogue_digest,
        "evaluated_at": last.evaluated_at,
        "score": {"current": score.current, "max": score.maximum, "measured": score.measured},
        "outcomes": dict(outcomes),
        "stale": sum(finding.stale_since is not None for finding in findings),
        "datasets": [summary.model_dump_json(exclude_none=True) for summary in last.datasets],
        "audit_entries": [entry.model_dump_json(exclude_none=True) for entry in last.audit_entries],
    }
