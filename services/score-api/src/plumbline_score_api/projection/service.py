"""Projects events: stages parts, and when an evaluation is whole, switches the readers over to it."""

from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from plumbline_contracts import envelope, tracing
from plumbline_contracts.events import (
    ControlDefinition,
    ControlResult,
    ControlResults,
    ExposedEntities,
    ExposedEntity,
    InstanceStatus,
)
from prometheus_client import Counter, Gauge

from plumbline_score_api.changes.changes import changes_of_status
from plumbline_score_api.decisions.service import DecisionService, Reopening
from plumbline_score_api.history.recording import Recorder
from plumbline_score_api.instances.disconnecting import ClosingService
from plumbline_score_api.instances.insights import InsightsService
from plumbline_score_api.pictures.aging import turned
from plumbline_score_api.pictures.control import Control
from plumbline_score_api.pictures.service import PictureService
from plumbline_score_api.projection.evaluations import Evaluation, Standing, refuse_wrong_numbers
from plumbline_score_api.projection.findings import Finding, could_not_be_read, settle
from plumbline_score_api.projection.repository import EXPOSED_PER_DOCUMENT, ProjectionRepository

log = structlog.get_logger(__name__)

STALE_AFTER = timedelta(hours=24)
SWITCHED = Counter("plumbline_score_api_evaluations_projected_total", "Evaluations that readers were switched to")
IGNORED = Counter("plumbline_score_api_evaluations_ignored_total", "Whole evaluations that were not newer")
PROJECTION_AGE = Gauge(
    "plumbline_score_api_projection_age_seconds", "Age of the newest projected evaluation at its switch"
)


MOST_DEFINED = 50_000
_KEPT = ("key", "slices")
"""What is remembered of the evaluation before the current one."""


class UnknownDefinitionsError(Exception):
    """The evaluation names control definitions, `missing`, that have not arrived yet."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__(
            f"{len(missing)} control definitions are not on control-catalogue, {missing[0]} first; "
            "an evaluator publishes its catalogue when it starts"
        )
        self.missing = missing


class LostSwitchError(Exception):
    """Two replicas hold one partition for a moment and the other was first. Trying again finds out what stands."""


class ProjectionService:
    """What the projector does with each event. Doing it again changes nothing.

    An evaluation that names an unknown definition stays staged and waits; those behind it are not held up. An instance
    of which no snapshot began for `stale_after` is stale.
    """

    def __init__(
        self,
        repository: ProjectionRepository,
        pictures: PictureService,
        insights: InsightsService,
        decisions: DecisionService,
        recorder: Recorder,
        closing: ClosingService,
        stale_after: timedelta = STALE_AFTER,
    ) -> None:
        self._repository, self._pictures, self._insights, self._closing = repository, pictures, insights, closing
        self._decisions, self._recorder, self._stale_after = decisions, recorder, stale_after
        self._defined: set[str] = set()
        self._tidy: set[tuple[str, str]] = set()
        """Tenant and instance of which this process has left nothing behind, and swept up what others may have."""

    async def take_definitions(self, definitions: list[ControlDefinition]) -> None:
        """Keep definitions."""
        await self._repository.write_definitions(definitions)

    async def take_status(self, status: InstanceStatus) -> None:
        """Keep the newest status; a new instance gets its insights before anybody sees it.

        What it says of collections waits beside it until it stands in the change log.

        Raises BadRecordError for a status of the future.
        """
        envelope.refuse_future(status.updated_at, now=datetime.now(UTC), what="the status")
        tenant, instance = status.tenant, status.instance
        standing = await self._standing(tenant, instance)
        if not standing.takes_status(status):
            return
        known, waiting = await self._repository.status(tenant, instance)
        if known is None or known.updated_at <= status.updated_at:
            waiting = [*waiting, *changes_of_status(known, status)]
            await self._insights.register(tenant, status.product, instance, status.insights)
            await self._repository.write_status(tenant, status, waiting, standing.disconnected_at)
        if waiting:
            await self._recorder.tell(tenant, instance, waiting)
            await self._repository.status_told(tenant, status)

    async def take_part(self, part: ControlResults) -> None:
        """Stage a part and, when its evaluation is whole now, apply it or let it wait for its definitions.

        Raises BadRecordError for a snapshot of the future or wrong numbers, LostSwitchError.
        """
        refuse_wrong_numbers(part)
        envelope.refuse_future(part.snapshot_started_at, now=datetime.now(UTC), what="the snapshot's start")
        tenant, evaluation = part.tenant, Evaluation.of(part, tracing.trace_id())
        standing = await self._standing(tenant, part.instance)
        if not standing.takes(evaluation):
            IGNORED.inc(part.part_count is not None)
            await self._repository.unstage(tenant, evaluation)
            return
        is_alone = part.part == 0 and part.part_count == 1
        if not is_alone:
            await self._repository.stage(tenant, evaluation, part)
            if not await self._repository.is_whole(tenant, evaluation):
                return
        try:
            await self._apply(tenant, evaluation, standing, part if is_alone else None)
        except UnknownDefinitionsError as error:
            log.warning("evaluation waits", tenant=tenant, instance=part.instance, problem=str(error))
            if is_alone:
                await self._repository.stage(tenant, evaluation, part)
            await self._repository.mark_waiting(tenant, evaluation, error.missing)

    async def apply_waiting(self) -> list[str]:
        """Apply every waiting evaluation whose definitions have arrived; what keeps the others waiting, oldest first.

        Raises LostSwitchError.
        """
        problems = []
        for tenant, evaluation, missing in await self._repository.waiting():
            try:
                await self._require(missing)
                await self._apply(tenant, evaluation, await self._standing(tenant, evaluation.instance))
            except UnknownDefinitionsError as error:
                problems.append(f"{tenant}/{evaluation.instance}, snapshot {evaluation.snapshot_id}: {error}")
        return problems

    async def follow(self, tenant: str, instance: str) -> None:
        """Do what follows a switch or a turn of the clock: decisions that it reopens, history, change log.

        It can be done again. Raises ConflictError.
        """
        current = await self._repository.current(tenant, instance)
        if current is not None:
            await self._follow(tenant, instance, current)

    async def _follow(self, tenant: str, instance: str, current: Mapping[str, Any]) -> None:
        if current.get("is_settled", True):
            return
        await self._decisions.align(tenant, instance)
        await self._recorder.record(tenant, instance)
        await self._repository.settled(tenant, instance, current["key"], current.get("clock"))

    async def age(self, tenant: str, instance: str, now: datetime) -> None:
        """Turn an instance's clock to the last moment up to now that changes what is seen, and do what follows.

        Raises ConflictError.
        """
        current = await self._repository.current(tenant, instance)
        if current is None or current.get("next_due") is None or current["next_due"] > now:
            return
        controls = await self._pictures.controls(tenant, instance, current["key"])
        then = turned(controls.values(), current["stale_at"], current["clock"], now)
        await self._repository.turn_clock(tenant, instance, current["key"], then, now)
        await self.follow(tenant, instance)

    async def due(self, now: datetime) -> list[tuple[str, str]]:
        """Tenant and instance of what time alone changes up to now."""
        return await self._repository.due(now)

    async def prune(self, before: datetime) -> None:
        """Forget what products said happened before a moment."""
        await self._repository.prune_setting_changes(before)

    async def unsettled(self) -> list[tuple[str, str]]:
        """Tenant and instance of switches that were killed before what follows was done."""
        return await self._repository.unsettled()

    async def _apply(
        self, tenant: str, evaluation: Evaluation, standing: Standing, alone: ControlResults | None = None
    ) -> None:
        """Switch the readers over, unless what they see is not older. All before the switch can be done again.

        Which decisions the evaluation reopens stands in the pointer: readers see both at once. `alone` is the only
        part of an evaluation, which is not staged.
        """
        former, is_tidy = standing.current, (tenant, evaluation.instance) in self._tidy
        self._tidy.discard((tenant, evaluation.instance))
        if former is not None:
            await self._follow(tenant, evaluation.instance, former)
        gathered = await self._gather(tenant, evaluation, alone)
        if gathered is None or not standing.takes(evaluation):
            await self._repository.unstage(tenant, evaluation)
            return
        last, results = gathered
        await self._require([f"{result.control_id}@{result.control_digest}" for result in results])
        findings = await self._settle(tenant, evaluation, last, results, former)
        slices = await self._repository.write_findings(tenant, evaluation, findings)
        await self._insights.introduce(tenant, evaluation.product, evaluation.instance)
        controls = [finding.control for finding in findings]
        reopened = await self._decisions.contradicted(tenant, evaluation.instance, evaluation.key, controls)
        await self._repository.keep_setting_changes(tenant, evaluation.instance, last.audit_entries)
        stale_at = last.snapshot_started_at + self._stale_after
        current = _pointer(evaluation, last, reopened) | _timed(controls, stale_at, former)
        current |= {"slices": slices, "former": {name: former.get(name) for name in _KEPT} if former else None}
        if not await self._repository.switch(tenant, evaluation, former["key"] if former else None, current):
            raise LostSwitchError(f"{tenant}/{evaluation.instance}: another replica switched it at the same moment")
        self._pictures.learn(tenant, evaluation.instance, evaluation.key, controls)
        await self._forget(tenant, evaluation, former, is_tidy=is_tidy)
        _tell(tenant, last, findings)
        await self._follow(tenant, evaluation.instance, current)

    async def _forget(
        self, tenant: str, evaluation: Evaluation, former: Mapping[str, Any] | None, *, is_tidy: bool
    ) -> None:
        """Delete what nobody follows; the former evaluation is still being read by some."""
        await self._repository.forget_parts(tenant, evaluation)
        gone = former.get("former") if former is not None else None
        if not is_tidy or (gone is not None and gone["slices"] is None):
            await self._repository.sweep(tenant, evaluation, [evaluation.key, *([former["key"]] if former else [])])
        elif gone is not None and gone["key"] != evaluation.key:
            await self._repository.forget(tenant, evaluation.instance, gone)
        self._tidy.add((tenant, evaluation.instance))

    async def _standing(self, tenant: str, instance: str) -> Standing:
        """How an instance stands. What must follow a disconnection is done first: nothing new comes before it."""
        standing = await self._repository.standing(tenant, instance)
        if standing.is_closing:
            await self._closing.finish(tenant, instance)
        return standing

    async def _gather(
        self, tenant: str, evaluation: Evaluation, alone: ControlResults | None
    ) -> tuple[ControlResults, list[ControlResult]] | None:
        """The last part and the results of all; the exposed entities go to their documents on the way.

        None when the parts are gone: a newer evaluation was switched to meanwhile.
        """
        written: Tally[str] = Tally()
        results: dict[str, ControlResult] = {}
        number = 0
        while (part := alone or await self._repository.part(tenant, evaluation, number)) is not None:
            results |= {result.control_id: result for result in part.results}
            await self._repository.write_exposed(tenant, evaluation, _slices(part.exposed, written))
            if part.part_count is not None:
                return part, list(results.values())
            number += 1
        return None

    async def _require(self, keys: list[str]) -> None:
        """The definitions of these `control_id@digest` keys are there. Raises UnknownDefinitionsError.

        A definition that was there once stays: it is not asked for again.
        """
        if unsure := set(keys) - self._defined:
            known = await self._repository.defined(sorted(unsure))
            if missing := sorted(unsure - known):
                raise UnknownDefinitionsError(missing)
            self._defined = (self._defined | known) if len(self._defined) < MOST_DEFINED else known

    async def _settle(
        self,
        tenant: str,
        evaluation: Evaluation,
        last: ControlResults,
        results: list[ControlResult],
        former: Mapping[str, Any] | None,
    ) -> list[Finding]:
        """The findings; one that stands in for an unread one keeps its exposed entities."""
        if former is None:
            return settle({}, {}, results, last.snapshot_started_at)
        place = (tenant, evaluation.instance, former["key"])
        unread = {result.control_id for result in results if could_not_be_read(result)}
        before, kept = await self._pictures.controls(*place), await self._repository.results(*place, unread)
        findings = settle(before, kept, results, last.snapshot_started_at)
        for finding in findings:
            if finding.stale_since is not None:
                await self._repository.carry_exposed(tenant, evaluation, former["key"], finding.result.control_id)
        return findings


def _slices(groups: list[ExposedEntities], written: "Tally[str]") -> Iterator[tuple[str, int, list[ExposedEntity]]]:
    """The entities of a part, cut to documents; `written` counts the documents of each control over all parts."""
    for group in groups:
        for start in range(0, len(group.entities), EXPOSED_PER_DOCUMENT):
            yield group.control_id, written[group.control_id], group.entities[start : start + EXPOSED_PER_DOCUMENT]
            written[group.control_id] += 1


def _tell(tenant: str, last: ControlResults, findings: list[Finding]) -> None:
    SWITCHED.inc()
    PROJECTION_AGE.set((datetime.now(UTC) - last.snapshot_started_at).total_seconds())
    outcomes = Tally(finding.result.outcome.value.lower() for finding in findings)
    named = {"tenant": tenant, "instance": last.instance, "snapshot_id": last.snapshot_id}
    log.info("evaluation projected", **named, **outcomes)


def _timed(controls: list[Control], stale_at: datetime, former: Mapping[str, Any] | None) -> dict[str, Any]:
    """What time will do to an evaluation, and when.

    As far as time was looked at before it has done so already: what was read late, and is old by now, does not come to
    life for a moment.
    """
    until = former.get("aged_at") if former is not None else None
    then = turned(controls, stale_at, None, until)
    return {"stale_at": stale_at, "clock": then.clock, "next_due": then.next_due, "aged_at": until}


def _pointer(evaluation: Evaluation, last: ControlResults, reopened: list[Reopening]) -> dict[str, Any]:
    return {
        "key": evaluation.key,
        "trace_id": evaluation.trace_id,
        "evaluation_id": last.evaluation_id,
        "snapshot_id": last.snapshot_id,
        "started_at": last.snapshot_started_at,
        "generation": last.catalogue_generation,
        "catalogue_digest": last.catalogue_digest,
        "evaluated_at": last.evaluated_at,
        "reopened": [vars(reopening) for reopening in reopened],
        "is_settled": False,
        "datasets": [summary.model_dump_json(exclude_none=True) for summary in last.datasets],
        "audit_entries": [entry.model_dump_json(exclude_none=True) for entry in last.audit_entries],
    }
