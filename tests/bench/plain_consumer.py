"""A plain aiokafka loop in the evaluator's place: the same records in, the same bytes out, nothing judged.

`python -m tests.bench.plain_consumer BOOTSTRAP COMPLETIONS CHUNKS RESULTS ANSWERS`: for every completion it reads the
offset range of chunks that it names, sends what ANSWERS (a JSON object: instance to record values) has for its
instance, waits for the acknowledgements and commits.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

LARGEST_RECORD_BYTES = 2 * 1024 * 1024
READER_WAIT_MS = 5
"""With aiokafka's own 500 ms every read waits for the last one's look beyond the end of the topic: a loop that sleeps
most of its time would be no reference."""


async def main(bootstrap: str, completions: str, chunks: str, results: str, answers: dict[str, list[str]]) -> None:
    """Until it is stopped."""
    consumer = AIOKafkaConsumer(
        completions,
        bootstrap_servers=bootstrap,
        group_id=f"{completions}.plain",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    reader = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        max_partition_fetch_bytes=LARGEST_RECORD_BYTES,
        fetch_max_wait_ms=READER_WAIT_MS,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        acks="all",
        compression_type="zstd",
        linger_ms=5,
        max_request_size=LARGEST_RECORD_BYTES,
    )
    for client in (consumer, reader, producer):
        await client.start()
    while True:
        for records in (await consumer.getmany(timeout_ms=1000, max_records=1)).values():
            for record in records:
                completed = json.loads(record.value)
                await _read(reader, chunks, completed["chunks"])
                values = answers[completed["instance"]]
                sent = [await producer.send(results, value.encode(), key=record.key) for value in values]
                await asyncio.gather(*sent)
                await consumer.commit()


async def _read(reader: AIOKafkaConsumer, topic: str, wanted: dict[str, Any]) -> None:
    partition = TopicPartition(topic, wanted["partition"])
    reader.assign([partition])
    reader.seek(partition, wanted["first_offset"])
    position = wanted["first_offset"]
    while position <= wanted["last_offset"]:
        for record in (await reader.getmany(partition, timeout_ms=1000)).get(partition, []):
            position = record.offset + 1


if __name__ == "__main__":
    bootstrap, completions, chunks, results, answers = sys.argv[1:]
    uvloop.run(main(bootstrap, completions, chunks, results, json.loads(Path(answers).read_text())))
