"""Which completion of an instance is the newest on `config-snapshots`."""

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord
from plumbline_contracts import envelope
from plumbline_contracts.events import SnapshotCompleted

FETCH_MS = 500
MOST_EMPTY_FETCHES = 60


class NewestCompletions:
    """Looks ahead in a partition. What it has read once it does not read again; it keeps one offset per instance.

    Shares an unsubscribed consumer with others; used by one task at a time.
    """

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer, self._topic = consumer, topic
        self._newest: dict[tuple[int, str], int] = {}
        self._read_until: dict[int, int] = {}

    async def is_newest(self, completed: SnapshotCompleted, partition: int, offset: int) -> bool:
        """False when a later completion of the instance lies on the topic now.

        Raises ConnectionError when the broker stops giving records.
        """
        await self._read_ahead(TopicPartition(self._topic, partition), offset + 1)
        return self._newest.get((partition, completed.key), -1) <= offset

    async def _read_ahead(self, partition: TopicPartition, begin: int) -> None:
        self._consumer.assign([partition])
        end = (await self._consumer.end_offsets([partition]))[partition]
        position, empty = max(begin, self._read_until.get(partition.partition, 0)), 0
        if position < end:
            self._consumer.seek(partition, position)
        while position < end:
            batch = (await self._consumer.getmany(partition, timeout_ms=FETCH_MS)).get(partition, [])
            empty = 0 if batch else empty + 1
            if empty > MOST_EMPTY_FETCHES:
                raise ConnectionError(f"the broker gives no record at offset {position} of {self._topic}")
            for record in batch:
                self._remember(record)
                position = record.offset + 1
        self._read_until[partition.partition] = position

    def _remember(self, record: ConsumerRecord) -> None:
        try:
            later = envelope.decode(SnapshotCompleted, record.value, record.headers)
        except envelope.BadRecordError:
            return
        self._newest[record.partition, later.key] = record.offset
