"""A look at the stack's broker from outside: what is on a topic, and what a service has not acknowledged."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient


@dataclass(frozen=True)
class Broker:
    """Topics and groups are named without the prefix."""

    bootstrap: str
    prefix: str

    @asynccontextmanager
    async def reader(self, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer of a topic from its beginning, in no group."""
        consumer = AIOKafkaConsumer(self.prefix + topic, bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """An admin client."""
        client = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await client.start()
        try:
            yield client
        finally:
            await client.close()

    async def end(self, reader: AIOKafkaConsumer) -> int:
        """How many records the reader's topic ever had."""
        return sum((await reader.end_offsets(reader.assignment())).values())

    async def records(self, topic: str) -> list[Any]:
        """Every record of a topic."""
        async with self.reader(topic) as reader:
            ends = await reader.end_offsets(reader.assignment())
            found: list[Any] = []
            while any([await reader.position(partition) < end for partition, end in ends.items()]):
                batches = await reader.getmany(timeout_ms=500)
                found += [record for batch in batches.values() for record in batch]
            return found

    async def unacknowledged(self, admin: AIOKafkaAdminClient, reader: AIOKafkaConsumer, group: str) -> int:
        """How many records of the reader's topic a group has not acknowledged."""
        committed = await admin.list_consumer_group_offsets(self.prefix + group)
        ends = await reader.end_offsets(reader.assignment())
        return sum(end - (committed[tp].offset if tp in committed else 0) for tp, end in ends.items() if end)

    async def lag(self, group: str, topic: str) -> int:
        """The same, for a single look."""
        async with self.reader(topic) as reader, self.admin() as admin:
            return await self.unacknowledged(admin, reader, group)
