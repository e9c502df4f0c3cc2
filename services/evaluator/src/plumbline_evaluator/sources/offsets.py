"""A snapshot in `snapshot-chunks`: the offset range that a completion names, read by an unsubscribed consumer."""

from collections.abc import AsyncIterator

from aiokafka import AIOKafkaConsumer, TopicPartition
from plumbline_contracts import envelope, ids
from plumbline_contracts.events import ChunkRange, DatasetChunk, SnapshotCompleted

from plumbline_evaluator.sources import RowCounter, SnapshotError

FETCH_MS = 1000
MOST_EMPTY_FETCHES = 30


class ChunksGoneError(Exception):
    """Retention has deleted chunks of this snapshot. No bad record: it is skipped."""


class OffsetRange:
    """Reads chunks one at a time. One reader for all snapshots, used by one task at a time."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer, self._topic = consumer, topic

    async def chunks(self, completed: SnapshotCompleted) -> AsyncIterator[DatasetChunk]:
        """The chunks of a snapshot, in order.

        Raises ChunksGoneError when retention took some, and SnapshotError when what lies there is not what the
        completion promises: other counts, another digest, a record that cannot be read.
        """
        counter = RowCounter(completed)
        wanted = completed.chunks
        if wanted is not None:
            digest = ids.ChunkDigest()
            async for chunk in self._range(completed, wanted, digest):
                counter.add(chunk)
                yield chunk
            if (digest.count, digest.hex()) != (wanted.chunk_count, wanted.digest):
                raise SnapshotError(
                    f"offsets {wanted.first_offset} to {wanted.last_offset} of partition {wanted.partition} hold "
                    f"{digest.count} chunks of this publication with another content than the completion's "
                    f"{wanted.chunk_count}; they were cut or altered"
                )
        counter.verify()

    async def _range(
        self, completed: SnapshotCompleted, wanted: ChunkRange, digest: ids.ChunkDigest
    ) -> AsyncIterator[DatasetChunk]:
        partition = TopicPartition(self._topic, wanted.partition)
        self._consumer.assign([partition])
        await self._refuse_missing(partition, wanted)
        self._consumer.seek(partition, wanted.first_offset)
        position, empty = wanted.first_offset, 0
        while position <= wanted.last_offset:
            batch = await self._consumer.getmany(partition, timeout_ms=FETCH_MS, max_records=1)
            empty = 0 if batch else empty + 1
            if empty > MOST_EMPTY_FETCHES:
                raise ConnectionError(f"the broker gives no record at offset {position} of {self._topic}")
            for record in batch.get(partition, []):
                position = record.offset + 1
                if record.offset > wanted.last_offset:
                    return
                if chunk := _own(record.value, completed):
                    digest.add(record.value)
                    yield chunk

    async def _refuse_missing(self, partition: TopicPartition, wanted: ChunkRange) -> None:
        first = (await self._consumer.beginning_offsets([partition]))[partition]
        end = (await self._consumer.end_offsets([partition]))[partition]
        if wanted.first_offset < first:
            raise ChunksGoneError(f"chunks from offset {wanted.first_offset} are gone, the topic begins at {first}")
        if wanted.last_offset >= end:
            raise SnapshotError(f"the completion names offset {wanted.last_offset}, the topic ends before {end}")


def _own(value: bytes | None, completed: SnapshotCompleted) -> DatasetChunk | None:
    """The chunk, if it belongs to this publication; other instances' records lie between ours."""
    if not value or completed.publication_id.encode() not in value[:1000]:
        return None
    try:
        chunk = envelope.decode(DatasetChunk, value)
    except envelope.BadRecordError as error:
        raise SnapshotError(f"a chunk cannot be read: {error}") from error
    return chunk if chunk.publication_id == completed.publication_id else None
