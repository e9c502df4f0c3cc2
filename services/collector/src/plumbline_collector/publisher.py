"""Publishes a finished spool: the chunks in a burst, then the one completion that names their offsets."""

import asyncio
from collections.abc import Iterable

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata
from plumbline_contracts import envelope, ids
from plumbline_contracts.events import ChunkRange, CollectionRequest, Event, InstanceStatus, SnapshotCompleted
from plumbline_contracts.kafka import KafkaSettings

from plumbline_collector import spool
from plumbline_collector.collection import Spooled

DEADLINE_SECONDS = 60.0
CHUNKS_IN_FLIGHT = 8


class PublishError(RuntimeError):
    """The broker did not acknowledge in time. Nothing that was sent is read by anyone."""


class Publisher:
    """Sends the collector's events, idempotent and acknowledged by all in-sync replicas."""

    def __init__(self, producer: AIOKafkaProducer, settings: KafkaSettings, source: str) -> None:
        self._producer, self._settings, self._source = producer, settings, source

    async def publish(self, spooled: Spooled) -> SnapshotCompleted:
        """Publish a snapshot whole; the completion as sent. Raises PublishError."""
        publication_id = ids.random_id()
        chunk_range = await self._send_chunks(spooled, publication_id)
        completed = spooled.completed.model_copy(update={"publication_id": publication_id, "chunks": chunk_range})
        await self._acknowledged([await self._send("config-snapshots", completed.key, completed)])
        return completed

    async def _send_chunks(self, spooled: Spooled, publication_id: str) -> ChunkRange | None:
        digest, offsets, in_flight, partition = ids.ChunkDigest(), [], [], 0
        topic = self._settings.topic("snapshot-chunks")
        for chunk in spool.chunks(spooled.path):
            stamped = chunk.model_copy(update={"publication_id": publication_id})
            value = envelope.encode(stamped)
            digest.add(value)
            headers = envelope.headers(stamped, source=self._source)
            in_flight.append(await self._enqueue(topic, chunk.key, value, headers))
            if len(in_flight) >= CHUNKS_IN_FLIGHT:
                offsets += await self._acknowledged(in_flight)
                in_flight = []
        offsets += await self._acknowledged(in_flight)
        if not offsets:
            return None
        partition = offsets[0].partition
        return ChunkRange(
            partition=partition,
            first_offset=min(sent.offset for sent in offsets),
            last_offset=max(sent.offset for sent in offsets),
            chunk_count=digest.count,
            digest=digest.hex(),
        )

    async def status(self, status: InstanceStatus) -> None:
        """Publish the newest state of a connection."""
        await self._acknowledged([await self._send("instance-status", status.key, status)])

    async def request(self, request: CollectionRequest) -> None:
        """Ask for a collection."""
        await self._acknowledged([await self._send("collection-requests", request.key, request)])

    async def dead_letter(self, topic: str, key: bytes | None, value: bytes | None, headers: envelope.Headers) -> None:
        """Keep the original bytes of a record that cannot be read."""
        sent = await self._producer.send(self._settings.topic(topic), value or b"", key=key, headers=headers)
        await self._acknowledged([sent])

    async def _send(self, topic: str, key: str, event: Event) -> "asyncio.Future[RecordMetadata]":
        headers = envelope.headers(event, source=self._source)
        return await self._enqueue(self._settings.topic(topic), key, envelope.encode(event), headers)

    async def _enqueue(
        self, topic: str, key: str, value: bytes, headers: envelope.Headers
    ) -> "asyncio.Future[RecordMetadata]":
        async with asyncio.timeout(DEADLINE_SECONDS):
            sent: asyncio.Future[RecordMetadata] = await self._producer.send(
                topic, value, key=key.encode(), headers=headers
            )
        return sent

    async def _acknowledged(self, sent: Iterable["asyncio.Future[RecordMetadata]"]) -> list[RecordMetadata]:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return list(await asyncio.gather(*sent))
        except TimeoutError as error:
            raise PublishError(
                f"the broker at {self._settings.kafka_bootstrap} did not acknowledge within {DEADLINE_SECONDS:.0f} s"
            ) from error
