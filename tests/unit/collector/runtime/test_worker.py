"""The loop against a broker that is told what to answer: what is committed, diverted, ignored, and when it gives up."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError
from aiokafka.structs import ConsumerRecord, RecordMetadata
from plumbline_collector.budget import Budgets
from plumbline_collector.publisher import Publisher, PublishError
from plumbline_collector.registry import ConnectionRegistry
from plumbline_collector.rhythms import Rhythms
from plumbline_collector.runs import Runner
from plumbline_collector.statuses import StatusBoard
from plumbline_collector.worker import MOST_BAD_IN_A_ROW, TooManyBadRecordsError, Worker
from plumbline_contracts import envelope
from plumbline_contracts.kafka import KafkaSettings

from tests.unit.collector.runtime.samples import request

KAFKA = KafkaSettings(topic_prefix="t.")
TOPIC = "t.collection-requests"
ZERO = TopicPartition(TOPIC, 0)


class Consumer:
    """aiokafka's consumer with one partition and a list of batches."""

    def __init__(self, *batches: list[ConsumerRecord]) -> None:
        self.batches = list(batches)
        self.committed: list[dict[TopicPartition, int]] = []
        self.refusals = 0

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[ConsumerRecord]]:
        await asyncio.sleep(0)
        return {ZERO: self.batches.pop(0)} if self.batches else {}

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise CommitFailedError("rebalanced")
        self.committed.append(offsets)

    def paused(self) -> set[TopicPartition]:
        return set()

    def assignment(self) -> set[TopicPartition]:
        return {ZERO}

    def partitions_for_topic(self, _: str) -> set[int]:
        return {0}


class Producer:
    """aiokafka's producer; acknowledges at once, or never."""

    def __init__(self, *, answers: bool = True) -> None:
        self.answers = answers
        self.sent: list[tuple[str, bytes | None, bytes, dict[str, bytes]]] = []

    async def send(
        self, topic: str, value: bytes, *, key: bytes | None, headers: envelope.Headers
    ) -> "asyncio.Future[RecordMetadata]":
        self.sent.append((topic, key, value, dict(headers)))
        future: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        if self.answers:
            future.set_result(RecordMetadata(topic, 0, TopicPartition(topic, 0), len(self.sent), 0, 0, 0))
        return future


def record(offset: int, value: bytes, key: bytes = b"contoso/sales-eu") -> ConsumerRecord:
    """A record of partition 0."""
    return ConsumerRecord(TOPIC, 0, offset, 0, 0, key, value, None, len(key), len(value), ())


def worker(consumer: Consumer, producer: Producer, tmp_path: Path) -> Worker:
    """A worker without any connection, so every good request is acknowledged and nothing is collected."""
    path = tmp_path / "connections.yaml"
    path.write_text("connections: []\n")
    registry = ConnectionRegistry(path)
    registry.start()
    publisher, board, budgets = Publisher(producer, KAFKA, "/test", deadline_seconds=5), StatusBoard(KAFKA), Budgets()
    board.has_caught_up.set()
    runner = Runner(publisher, board, budgets, spool_dir=tmp_path, timeout_seconds=1)
    rhythms = Rhythms(publisher, board, registry, budgets)
    return Worker(consumer, publisher, board, registry, runner, rhythms, topic=TOPIC, concurrency=1)


async def test_a_request_without_a_connection_is_acknowledged(tmp_path: Path) -> None:
    consumer = Consumer([record(4, envelope.encode(request()))])
    loop = worker(consumer, Producer(), tmp_path)
    await loop.on_partitions_assigned([ZERO])
    await loop._turn()
    assert consumer.committed == [{ZERO: 5}]


async def test_what_was_fetched_before_a_rebalance_is_left_to_the_owner(tmp_path: Path) -> None:
    consumer, producer = Consumer([record(0, b"poison")], [record(0, b"poison")]), Producer()
    loop = worker(consumer, producer, tmp_path)
    await loop.on_partitions_assigned([ZERO])
    await loop.on_partitions_revoked([ZERO])
    await loop._turn()
    assert (consumer.committed, producer.sent) == ([], [])
    await loop.on_partitions_assigned([ZERO])
    await loop._turn()
    assert (consumer.committed, len(producer.sent)) == ([{ZERO: 1}], 1)


async def test_a_lost_commit_is_made_again(tmp_path: Path) -> None:
    consumer = Consumer([record(0, envelope.encode(request()))])
    consumer.refusals = 2
    loop = worker(consumer, Producer(), tmp_path)
    await loop.on_partitions_assigned([ZERO])
    for _ in range(4):
        await loop._turn()
    assert consumer.committed == [{ZERO: 1}]


async def test_a_commit_of_a_partition_that_moved_away_is_dropped(tmp_path: Path) -> None:
    consumer = Consumer([record(0, envelope.encode(request()))])
    consumer.refusals = 1
    loop = worker(consumer, Producer(), tmp_path)
    await loop.on_partitions_assigned([ZERO])
    await loop._turn()
    await loop.on_partitions_assigned([])
    await loop._turn()
    assert consumer.committed == []


async def test_a_poison_record_keeps_its_bytes_and_says_where_it_was(tmp_path: Path) -> None:
    consumer, producer = Consumer([record(9, b"\xff\x00 not json", b"k")]), Producer()
    loop = worker(consumer, producer, tmp_path)
    await loop.on_partitions_assigned([ZERO])
    await loop._turn()
    ((topic, key, value, headers),) = producer.sent
    assert (topic, key, value) == ("t.collection-requests.dlq", b"k", b"\xff\x00 not json")
    assert headers["plumbline_offset"] == b"9"
    assert headers["plumbline_error"] == b"BadRecordError"
    assert consumer.committed == [{ZERO: 10}]


async def test_nothing_but_bad_records_stops_the_loop(tmp_path: Path) -> None:
    batch = [record(offset, b"{}") for offset in range(MOST_BAD_IN_A_ROW + 1)]
    loop = worker(Consumer(batch), Producer(), tmp_path)
    await loop.on_partitions_assigned([ZERO])
    with pytest.raises(TooManyBadRecordsError, match=r"in a row on t\.collection-requests; find who writes them"):
        await loop._turn()


async def test_a_good_record_between_bad_ones_keeps_the_loop_going(tmp_path: Path) -> None:
    good = envelope.encode(request())
    batch = [record(offset, good if offset % 30 == 29 else b"{}") for offset in range(100)]
    consumer = Consumer(batch)
    loop = worker(consumer, Producer(), tmp_path)
    await loop.on_partitions_assigned([ZERO])
    await loop._turn()
    assert consumer.committed == [{ZERO: 100}]


async def test_a_broker_that_never_acknowledges_ends_in_a_clear_error() -> None:
    publisher = Publisher(Producer(answers=False), KAFKA, "/test", deadline_seconds=0.05)
    with pytest.raises(PublishError, match=r"the broker at 127\.0\.0\.1:9092 did not acknowledge"):
        await publisher.request(request())


async def test_joining_over_and_over_names_the_likely_cause(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = worker(Consumer(), Producer(), tmp_path)
    for _ in range(6):
        await loop.on_partitions_assigned([ZERO])
    assert "PLUMBLINE_COLLECTOR_NAME" in caplog.text + capsys.readouterr().out
