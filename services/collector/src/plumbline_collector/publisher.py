"""Publishes a finished spool: the chunks in a burst, then the one completion that names their offsets."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata
from plumbline_contracts import envelope, ids
from plumbline_contracts.events import ChunkRange, CollectionRequest, Event, InstanceStatus, SnapshotCompleted
from plumbline_contracts.kafka import KafkaSettings

from plumbline_collector import spool
from plumbline_collector.collection import Spooled

CHUNKS_IN_FLIGHT = 8

Sent = asyncio.Future[RecordMetadata]
T = TypeVar("T")


class PublishError(RuntimeError):
    """The broker did not acknowledge in time. Nothing of an unfinished publication is read by anyone."""


class Publisher:
    """Sends the collector's events, idempotent and acknowledged by all in-sync replicas.

    Every method raises PublishError when the broker stays silent for `deadline_seconds`: an idempotent producer
    itself would wait for ever.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        settings: KafkaSettings,
        source: str,
        *,
        deadline_seconds: float,
    ) -> None:
        self._producer, self._settings, self._source = producer, settings, source
        self._deadline_seconds = deadline_seconds

    async def publish(self, spooled: Spooled) -> SnapshotCompleted:
        """Publish a snapshot whole; the completion as sent."""
        publication_id = ids.random_id()
        chunk_range = await self._send_chunks(spooled, publication_id)
        completed = spooled.completed.model_copy(update={"publication_id": publication_id, "chunks": chunk_range})
        await self._send_event("config-snapshots", completed.key, completed)
        return completed

    async def _send_chunks(self, spooled: Spooled, publication_id: str) -> ChunkRange | None:
        digest = ids.ChunkDigest()
        acknowledged: list[RecordMetadata] = []
        in_flight: list[Sent] = []
        for chunk in spool.chunks(spooled.path):
            stamped = chunk.model_copy(update={"publication_id": publication_id})
            value = envelope.encode(stamped)
            digest.add(value)
            headers = envelope.headers(stamped, source=self._source)
            in_flight.append(await self._enqueue("snapshot-chunks", chunk.key.encode(), value, headers))
            if len(in_flight) >= CHUNKS_IN_FLIGHT:
                acknowledged = _ends([*acknowledged, *await self._acknowledged(in_flight)])
                in_flight = []
        acknowledged = _ends([*acknowledged, *await self._acknowledged(in_flight)])
        if not acknowledged:
            return None
        return ChunkRange(
            partition=acknowledged[0].partition,
            first_offset=acknowledged[0].offset,
            last_offset=acknowledged[-1].offset,
            chunk_count=digest.count,
            digest=digest.hex(),
        )

    async def status(self, status: InstanceStatus) -> None:
        """Publish the newest state of a connection."""
        await self._send_event("instance-status", status.key, status)

    async def request(self, request: CollectionRequest) -> None:
        """Ask for a collection."""
        await self._send_event("collection-requests", request.key, request)

    async def dead_letter(self, topic: str, key: bytes | None, value: bytes | None, headers: envelope.Headers) -> None:
        """Keep the original bytes of a record that cannot be read; Kafka takes no record without key and value."""
        kept = b"" if value is None and key is None else value
        await self._acknowledged([await self._enqueue(topic, key, kept, headers)])

    async def _send_event(self, topic: str, key: str, event: Event) -> None:
        headers = envelope.headers(event, source=self._source)
        await self._acknowledged([await self._enqueue(topic, key.encode(), envelope.encode(event), headers)])

    async def _enqueue(self, topic: str, key: bytes | None, value: bytes | None, headers: envelope.Headers) -> Sent:
        name = self._settings.topic(topic)
        sent: Sent = await self._in_time(self._producer.send(name, value, key=key, headers=headers))
        return sent

    async def _acknowledged(self, sent: Iterable[Sent]) -> list[RecordMetadata]:
        return await self._in_time(asyncio.gather(*sent))

    async def _in_time(self, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await answer
        except TimeoutError as error:
            raise PublishError(
                f"the broker at {self._settings.kafka_bootstrap} did not acknowledge "
                f"within {self._deadline_seconds:.0f} s"
            ) from error


def _ends(offsets: list[RecordMetadata]) -> list[RecordMetadata]:
    """The lowest and the highest of offsets in one partition: all that a range needs."""
    ordered = sorted(offsets, key=lambda sent: sent.offset)
    return ordered[:1] + ordered[-1:]
