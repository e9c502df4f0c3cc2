"""A snapshot in `snapshot-chunks`: the offset range that a completion names, read by an unsubscribed consumer."""

from collections.abc import AsyncIterator

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from plumbline_contracts import envelope, ids
from plumbline_contracts.events import ChunkRange, DatasetChunk, SnapshotCompleted

from plumbline_evaluator.sources import RowCounter, SnapshotError

FETCH_MS = 1000
MOST_EMPTY_FETCHES = 30


class ChunksGoneError(Exception):
    """Retention has deleted chunks of this snapshot. No bad record: it is skipped."""


class OffsetRange:
    """Reads chunks one at a time. One reader for all snapshots, used by one task at a time.

    The consumer is subscribed to nothing and resets no offset by itself.
    """

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer, self._topic = consumer, topic
        self._partitions: frozenset[int] = frozenset()

    async def chunks(self, completed: SnapshotCompleted) -> AsyncIterator[DatasetChunk]:
        """The chunks of a snapshot, in order.

        Raises ChunksGoneError when retention took some, SnapshotError when what lies there is not what the completion
        promises (other counts, another digest, a record that cannot be read), and ConnectionError or KafkaError when
        the broker stays away.
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
        partition = await self._partition(wanted)
        self._consumer.assign([partition])
        await self._refuse_missing(partition, wanted)
        self._consumer.seek(partition, wanted.first_offset)
        position, empty = wanted.first_offset, 0
        while position <= wanted.last_offset:
            try:
                batch = await self._consumer.getmany(partition, timeout_ms=FETCH_MS, max_records=1)
            except OffsetOutOfRangeError:
                await self._refuse_missing(partition, wanted)
                raise
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

    async def _partition(self, wanted: ChunkRange) -> TopicPartition:
        if wanted.first_offset > wanted.last_offset:
            raise SnapshotError(f"the completion names offsets {wanted.first_offset} to {wanted.last_offset}")
        if wanted.partition not in self._partitions:
            self._partitions = frozenset(await partition_numbers(self._consumer, self._topic))
        if wanted.partition not in self._partitions:
            raise SnapshotError(f"the completion names partition {wanted.partition}, which {self._topic} does not have")
        return TopicPartition(self._topic, wanted.partition)

    async def _refuse_missing(self, partition: TopicPartition, wanted: ChunkRange) -> None:
        first = (await self._consumer.beginning_offsets([partition]))[partition]
        end = (await self._consumer.end_offsets([partition]))[partition]
        if wanted.last_offset >= end:
            raise SnapshotError(f"the completion names offset {wanted.last_offset}, the topic ends before {end}")
        if wanted.first_offset < first:
            raise ChunksGoneError(f"chunks from offset {wanted.first_offset} are gone, the topic begins at {first}")


async def partition_numbers(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    """The partitions of a topic. Raises ConnectionError while the broker shows none."""
    metadata = await consumer._client.fetch_all_metadata()
    found = metadata.partitions_for_topic(topic)
    if not found:
        raise ConnectionError(f"the broker shows no partition of {topic}")
    return sorted(found)


def _own(value: bytes | None, completed: SnapshotCompleted) -> DatasetChunk | None:
    """The chunk, if it belongs to this publication; other instances' records lie between ours."""
    if not value or completed.publication_id.encode() not in value:
        return None
    try:
        chunk = envelope.decode(DatasetChunk, value)
    except envelope.BadRecordError as error:
        raise SnapshotError(f"a chunk cannot be read: {error}") from error
    if chunk.publication_id != completed.publication_id:
        return None
    if (chunk.key, chunk.product, chunk.snapshot_id) != (completed.key, completed.product, completed.snapshot_id):
        raise SnapshotError(f"a chunk of this publication belongs to snapshot {chunk.snapshot_id} of {chunk.key}")
    return chunk
