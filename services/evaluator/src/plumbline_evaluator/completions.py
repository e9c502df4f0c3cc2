"""The Faust adapter: the loss-free loop over `config-snapshots`.

A completion is acknowledged after its results are; one that cannot be judged goes to the dead-letter topic; anything
else ends the process, and the completion is read again.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import faust
import structlog
from plumbline_contracts import envelope
from plumbline_contracts.topics import dead_letter_name
from prometheus_client import Counter

from plumbline_evaluator.sources import SnapshotError
from plumbline_evaluator.worker import BAD_RECORDS, Judging, Received, Send

log = structlog.get_logger(__name__)

ASSIGNMENTS = Counter("plumbline_evaluator_assignments_total", "Rebalances that gave this replica its partitions")

TOPIC = "config-snapshots"
STALLED_SECONDS = 300.0
TURN_SECONDS = 1.0
LATE_SECONDS = 60.0
STOP_SECONDS = 10.0


class TooManyBadRecordsError(RuntimeError):
    """So many completions in a row cannot be judged that something upstream is broken."""


class Completions:
    """Takes completions one after another and has them judged."""

    def __init__(self, app: faust.App, topic: str, judging: Judging, send: Send, *, bad_records_in_a_row: int) -> None:
        self._app, self._judging, self._send = app, judging, send
        self._most_bad, self._bad_in_a_row = bad_records_in_a_row, 0
        self._is_assigned = self._is_stopping = False
        self._turned_at = time.monotonic()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        app.agent(app.topic(topic, value_type=bytes), name="judging")(self._consume)
        app.on_rebalance_complete.connect(self._assigned)
        app.on_partitions_revoked.connect(self._revoked)

    async def _assigned(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - Faust's signal
        ASSIGNMENTS.inc()
        self._is_assigned = True

    async def _revoked(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - Faust's signal
        self._is_assigned = False

    @property
    def is_ready(self) -> bool:
        """Whether partitions are assigned, and completions are taken."""
        return self._is_assigned and not self._is_stopping

    @property
    def is_live(self) -> bool:
        """Whether the event loop turns and a running evaluation moves. A broker that is away is no reason to die."""
        turns = time.monotonic() - self._turned_at < LATE_SECONDS
        return turns and self._judging.is_moving(STALLED_SECONDS)

    async def turn(self) -> None:
        """Prove for ever that the event loop turns."""
        while True:
            self._turned_at = time.monotonic()
            await asyncio.sleep(TURN_SECONDS)

    async def run(self, stopping: asyncio.Event, beside: Coroutine[Any, Any, None]) -> None:
        """Judge, and do what runs beside, until `stopping` is set. Raises what ended either before that."""
        ends: list[asyncio.Future[Any]] = list(map(asyncio.create_task, (self._run_app(), stopping.wait(), beside)))
        try:
            done, _ = await asyncio.wait([*ends, self._failed], return_when=asyncio.FIRST_COMPLETED)
            for end in done:
                end.result()
        finally:
            self._is_stopping = True
            await self._stop_app()
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    async def _run_app(self) -> None:
        await self._app.start()
        await self._app.wait_until_stopped()
        if reason := self._app.crash_reason:
            raise reason

    async def _stop_app(self) -> None:
        """Commit what is acknowledged and leave, within some seconds even if the broker is away."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._app.stop()
        except TimeoutError:
            log.warning("the consumer did not stop in time; what it had not committed is read again")

    async def _consume(self, stream: Any) -> None:  # noqa: ANN401 - Faust's stream
        async for events in stream.noack_take(1, within=0.05):
            for event in events:
                try:
                    await self._take(_received(event.message))
                except Exception as error:  # noqa: BLE001 - the one guard: it ends the process, nothing acknowledged
                    self._failed.set_exception(error)
                    await asyncio.Event().wait()
                await stream.ack(event)

    async def _take(self, received: Received) -> None:
        try:
            await self._judging.handle(received)
            self._bad_in_a_row = 0
        except (envelope.BadRecordError, SnapshotError) as error:
            await self._divert(received, error)

    async def _divert(self, received: Received, error: Exception) -> None:
        """Bring the record to the dead letters with its key, bytes and headers; ours tell what was wrong."""
        BAD_RECORDS.inc()
        self._bad_in_a_row += 1
        if self._bad_in_a_row > self._most_bad:
            raise TooManyBadRecordsError(f"{self._bad_in_a_row} bad completions in a row; the last: {error}")
        ours = envelope.dead_letter_headers(received.topic, received.partition, received.offset, error)
        headers = [(name, value or b"") for name, value in received.headers]
        has_nothing = received.value is None and received.key is None
        value = b"" if has_nothing else received.value
        await self._send(dead_letter_name(TOPIC), received.key, value, [*headers, *ours])
        log.warning("completion diverted", partition=received.partition, offset=received.offset, problem=str(error))


def _received(message: Any) -> Received:  # noqa: ANN401 - Faust's message
    return Received(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value,
        headers=tuple(message.headers or ()),
    )
