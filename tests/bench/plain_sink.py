"""A plain aiokafka loop in the projector's place: every record is stored as it is, nothing is read or worked out.

`python -m tests.bench.plain_sink BOOTSTRAP TOPIC MONGODB_URL`: one durable write per record, then its offset.
"""

import sys
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer
from motor.motor_asyncio import AsyncIOMotorClient

LARGEST_RECORD_BYTES = 2 * 1024 * 1024


async def main(bootstrap: str, topic: str, url: str) -> None:
    """Until it is stopped."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(url, w="majority", journal=True)
    database = client.get_default_database()
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=f"{topic}.plain",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=LARGEST_RECORD_BYTES,
    )
    await consumer.start()
    while True:
        for records in (await consumer.getmany(timeout_ms=200, max_records=50)).values():
            for record in records:
                identity = f"{record.partition}/{record.offset}"
                await database["sink"].insert_one({"_id": identity, "body": record.value.decode()})
        await consumer.commit()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
