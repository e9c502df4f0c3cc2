"""From a completion to published results: reads the chunks, judges them in a thread, sends the parts.

The Faust adapter in `completions.py` acknowledges a completion only after `handle` has returned.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from opentelemetry import context, propagate
from plumbline_contracts import envelope, ids
from plumbline_contracts.events import (
    CollectionRequest,
    ControlResults,
    RequestReason,
    SnapshotCompleted,
)
from prometheus_client import Counter, Histogram

from plumbline_evaluator.catalogue.loading import Catalogue
from plumbline_evaluator.catalogues import Catalogues
from plumbline_evaluator.judging.evaluation import Evaluation, Limits
from plumbline_evaluator.results import PartCutter
from plumbline_evaluator.sources.newest import NewestCompletions
from plumbline_evaluator.sources.offsets import ChunksGoneError, OffsetRange

log = structlog.get_logger(__name__)

EVALUATIONS = Counter("plumbline_evaluator_evaluations_total", "Snapshots judged", ["product"])
SKIPPED = Counter("plumbline_evaluator_snapshots_skipped_total", "Completions whose chunks retention has deleted")
BAD_RECORDS = Counter("plumbline_evaluator_bad_records_total", "Completions that could not be judged")
SECONDS = Histogram("plumbline_evaluator_evaluation_seconds", "Time to read, judge and publish one snapshot")

Send = Callable[[str, str | bytes | None, bytes | None, envelope.Headers], Awaitable[None]]
"""Sends (topic name, key, value, headers) and returns when the broker has acknowledged."""


@dataclass(frozen=True)
class Received:
    """A record of `config-snapshots` as it came."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Judging:
    """Handles completions one after another."""

    def __init__(
        self,
        catalogues: Catalogues,
        source: OffsetRange,
        newest: NewestCompletions,
        send: Send,
        *,
        name: str,
        limits: Limits,
    ) -> None:
        self._catalogues, self._source, self._newest, self._send = catalogues, source, newest, send
        self._limits = limits
        self._label = f"/evaluator/{name}"
        self._moved_at: float | None = None

    def is_moving(self, limit_seconds: float) -> bool:
        """False when an evaluation runs and has not read a chunk for this long."""
        return self._moved_at is None or time.monotonic() - self._moved_at < limit_seconds

    async def handle(self, received: Received) -> None:
        """Judge one completion and publish its results. A record without `ce_type` is taken for what its value says.

        Raises BadRecordError or SnapshotError for a record that belongs in the dead-letter topic; anything else that
        leaves is a failure of the broker, and the record is read again.
        """
        completed = envelope.decode(SnapshotCompleted, received.value, received.headers)
        envelope.refuse_future(completed.started_at, now=datetime.now(UTC), what="the snapshot's start")
        token = context.attach(propagate.extract(dict(envelope.trace_carrier(received.headers))))
        self._moved_at = time.monotonic()
        try:
            with (
                SECONDS.time(),
                structlog.contextvars.bound_contextvars(
                    tenant=completed.tenant, instance=completed.instance, snapshot_id=completed.snapshot_id
                ),
            ):
                try:
                    await self._judge(completed)
                except ChunksGoneError as error:
                    await self._skip(completed, received, error)
        finally:
            self._moved_at = None
            context.detach(token)

    async def _judge(self, completed: SnapshotCompleted) -> None:
        catalogue = self._catalogues.current
        plan = catalogue.plans[completed.product]
        evaluation = Evaluation(plan, catalogue.digests, completed.parameters, self._limits)
        cutter = PartCutter(_header(completed, catalogue))
        async for chunk in self._source.chunks(completed):
            self._moved_at = time.monotonic()
            batches = await asyncio.to_thread(evaluation.take, chunk.dataset, chunk.rows)
            await self._publish(cutter.add(batches))
        items = await asyncio.to_thread(lambda: list(evaluation.conclude(completed.datasets)))
        await self._publish(cutter.add(items))
        await self._publish(cutter.last(completed))
        EVALUATIONS.labels(completed.product).inc()
        log.info("snapshot judged", rows=evaluation.rows_judged, controls=len(plan.controls))

    async def _publish(self, parts: Iterable[ControlResults]) -> None:
        for part in parts:
            headers = envelope.headers(part, source=self._label, event_id=f"{part.evaluation_id}/{part.part}")
            await self._send("control-results", part.key, envelope.encode(part), headers)

    async def _skip(self, completed: SnapshotCompleted, received: Received, error: ChunksGoneError) -> None:
        """Count a snapshot that is gone. The newest of its instance asks for a collection, under one id for ever."""
        SKIPPED.inc()
        is_newest = await self._newest.is_newest(completed, received.partition, received.offset)
        log.warning("snapshot skipped, its chunks are gone", problem=str(error), collection_requested=is_newest)
        if is_newest:
            await self._request_collection(completed)

    async def _request_collection(self, completed: SnapshotCompleted) -> None:
        request = CollectionRequest(
            request_id=ids.change_request_id(completed.tenant, completed.instance, f"gone {completed.snapshot_id}"),
            tenant=completed.tenant,
            instance=completed.instance,
            reason=RequestReason.CHANGE,
            requested_by="evaluator",
            requested_at=datetime.now(UTC),
            detail="the chunks of the newest snapshot are gone",
        )
        headers = envelope.headers(request, source=self._label, event_id=request.request_id)
        await self._send("collection-requests", request.key, envelope.encode(request), headers)


def _header(completed: SnapshotCompleted, catalogue: Catalogue) -> ControlResults:
    return ControlResults(
        tenant=completed.tenant,
        instance=completed.instance,
        product=completed.product,
        evaluation_id=ids.evaluation_id(completed.snapshot_id, catalogue.digest),
        snapshot_id=completed.snapshot_id,
        snapshot_digest=completed.chunks.digest if completed.chunks else "",
        snapshot_started_at=completed.started_at,
        evaluated_at=datetime.now(UTC),
        catalogue_digest=catalogue.digest,
        catalogue_generation=catalogue.generation,
        part=0,
    )
