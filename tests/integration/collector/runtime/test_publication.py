"""A snapshot is published whole: its range, count and digest fit, also when two publications interleave."""

import asyncio
from pathlib import Path

from aiokafka import AIOKafkaProducer
from plumbline_collector.collection import Spooled
from plumbline_collector.publisher import Publisher
from plumbline_collector.spool import SpoolWriter
from plumbline_contracts import envelope, ids
from plumbline_contracts.events import DatasetChunk, Product, RequestReason, Row, SnapshotCompleted
from plumbline_contracts.kafka import KafkaSettings

from tests.integration.collector.runtime.service import Fleet

KEYS_OF_ONE_PARTITION = 8


def spooled(folder: Path, instance: str, rows: int) -> Spooled:
    """A finished spool with so many rows of about 1 KB."""
    path = folder / f"{instance}.spool"
    content: list[Row] = [{"id": number, "text": instance + "x" * 1000} for number in range(rows)]
    with SpoolWriter(path, tenant="demo", instance=instance, product=Product.SALESFORCE, snapshot_id="s") as spool:
        spool.add("users", content)
        spool.flush()
        completed = SnapshotCompleted(
            tenant="demo",
            instance=instance,
            product=Product.SALESFORCE,
            snapshot_id="s",
            publication_id="",
            request_id="r",
            reason=RequestReason.USER,
            started_at="2026-03-01T12:00:00Z",
            completed_at="2026-03-01T12:00:01Z",
            datasets=[],
            collector_version="0",
        )
        spool.complete(completed)
    return Spooled(path, completed)


async def publish(kafka: KafkaSettings, *snapshots: Spooled) -> list[SnapshotCompleted]:
    """Publish all at the same time."""
    options = {"enable_idempotence": True, "acks": "all", "compression_type": "zstd", "linger_ms": 5}
    async with AIOKafkaProducer(bootstrap_servers=kafka.kafka_bootstrap, **options) as producer:
        publisher = Publisher(producer, kafka, "/collector/test", deadline_seconds=30)
        return list(await asyncio.gather(*(publisher.publish(snapshot) for snapshot in snapshots)))


def test_the_completion_names_exactly_its_chunks(fleet: Fleet, tmp_path: Path) -> None:
    names = [f"org-{number}" for number in range(KEYS_OF_ONE_PARTITION)]
    sent = asyncio.run(publish(fleet.kafka, *(spooled(tmp_path, name, 3000) for name in names)))
    records = fleet.records("snapshot-chunks")
    interleaved = 0
    for completed in sent:
        assert completed.chunks is not None
        within = [
            record
            for record in records
            if record.partition == completed.chunks.partition
            and completed.chunks.first_offset <= record.offset <= completed.chunks.last_offset
        ]
        own = [(r, c) for r in within if (c := envelope.decode(DatasetChunk, r.value, r.headers)).key == completed.key]
        interleaved += len(within) > len(own)
        digest = ids.ChunkDigest()
        for record, _ in own:
            digest.add(record.value)
        assert (digest.count, digest.hex()) == (completed.chunks.chunk_count, completed.chunks.digest)
        assert [chunk.sequence for _, chunk in own] == list(range(digest.count))
        assert {chunk.publication_id for _, chunk in own} == {completed.publication_id}
        assert [row["id"] for _, chunk in own for row in chunk.rows] == list(range(3000))
    assert interleaved, "eight keys on six partitions share at least one"
    assert {s.key: s for s in fleet.snapshots()} == {s.key: s for s in sent}


def test_a_second_attempt_has_a_publication_of_its_own(fleet: Fleet, tmp_path: Path) -> None:
    snapshot = spooled(tmp_path, "org", 10)
    (first,) = asyncio.run(publish(fleet.kafka, snapshot))
    (second,) = asyncio.run(publish(fleet.kafka, snapshot))
    assert first.publication_id != second.publication_id
    assert first.chunks is not None
    assert second.chunks is not None
    assert first.chunks.last_offset < second.chunks.first_offset


def test_a_snapshot_without_rows_has_no_range(fleet: Fleet, tmp_path: Path) -> None:
    (sent,) = asyncio.run(publish(fleet.kafka, spooled(tmp_path, "org", 0)))
    assert sent.chunks is None
    assert fleet.records("snapshot-chunks") == []
