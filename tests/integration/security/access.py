"""What a login really may do: asked of the broker by doing it."""

import asyncio
import contextlib
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from plumbline_contracts.kafka import KafkaSettings

READ_MS = 2500


async def writable(settings: KafkaSettings, topics: Iterable[str]) -> set[str]:
    """The topics that take a record of partition 0 from the login."""
    found = set()
    async with AIOKafkaProducer(**settings.client_options(), retry_backoff_ms=50) as producer:
        for topic in topics:
            with contextlib.suppress(TopicAuthorizationFailedError):
                await producer.send_and_wait(topic, b"{}", key=b"k", partition=0)
                found.add(topic)
    return found


async def readable(settings: KafkaSettings, topics: Iterable[str]) -> set[str]:
    """The topics of which the login reads a record of partition 0, where there is one."""

    async def read(topic: str) -> str | None:
        consumer = AIOKafkaConsumer(**settings.client_options(), enable_auto_commit=False, retry_backoff_ms=50)
        await consumer.start()
        try:
            partition = TopicPartition(topic, 0)
            consumer.assign([partition])
            consumer.seek(partition, 0)
            return topic if await consumer.getmany(timeout_ms=READ_MS) else None
        except TopicAuthorizationFailedError:
            return None
        finally:
            await consumer.stop()

    return {topic for topic in await asyncio.gather(*map(read, topics)) if topic}


async def joins(settings: KafkaSettings, topic: str, group: str) -> bool:
    """Whether the login reads the topic as a member of the group, and commits."""
    consumer = AIOKafkaConsumer(
        topic, **settings.client_options(), group_id=group, auto_offset_reset="earliest", enable_auto_commit=False
    )
    try:
        await consumer.start()
        async with asyncio.timeout(20):
            while not await consumer.getmany(timeout_ms=500):
                pass
            await consumer.commit()
    except GroupAuthorizationFailedError:
        return False
    finally:
        await consumer.stop()
    return True


async def visible(settings: KafkaSettings) -> set[str]:
    """The topics that the login is told of."""
    admin = AIOKafkaAdminClient(**settings.client_options())
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()
