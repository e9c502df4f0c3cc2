"""A broker of the bench's own, its topics, and waiting for results."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from aiokafka import AIOKafkaConsumer
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.provisioning import create_topics
from plumbline_local import kafka

from tests.polling import free_port

_LAST_PART = b'"part_count":'


@contextmanager
def broker(home: Path) -> Iterator[kafka.KafkaBroker]:
    """A real Apache Kafka broker."""
    started = kafka.start(home, free_port(), free_port())
    try:
        yield started
    finally:
        started.stop()


def fresh_topics(started: kafka.KafkaBroker) -> KafkaSettings:
    """Every topic of the registry under a prefix of its own."""
    settings = KafkaSettings(kafka_bootstrap=started.bootstrap, topic_prefix=f"b{uuid.uuid4().hex[:8]}.")
    asyncio.run(create_topics(settings, replication_factor=1))
    return settings


class Evaluations:
    """Reads `control-results` as it grows."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.values: list[bytes] = []
        self._seen = 0

    async def wait(self, count: int, *, within_seconds: float) -> None:
        """Until `count` more evaluations are there whole. Raises TimeoutError."""
        wanted = self._seen + count
        async with asyncio.timeout(within_seconds):
            while self._seen < wanted:
                for records in (await self._consumer.getmany(timeout_ms=200)).values():
                    self.values += [record.value for record in records]
                    self._seen += sum(_LAST_PART in record.value for record in records)


@asynccontextmanager
async def evaluations(settings: KafkaSettings) -> AsyncIterator[Evaluations]:
    """What is and comes on `control-results`."""
    consumer = AIOKafkaConsumer(
        settings.topic("control-results"),
        bootstrap_servers=settings.kafka_bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        yield Evaluations(consumer)
    finally:
        await consumer.stop()
