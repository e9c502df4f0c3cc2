"""The evaluator as a process, snapshots as a collector publishes them, and what lies on the topics afterwards."""

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import ConsumerRecord
from plumbline_contracts import envelope, ids
from plumbline_contracts.datasets import datasets
from plumbline_contracts.events import (
    ChunkRange,
    ControlDefinition,
    ControlResult,
    ControlResults,
    DatasetChunk,
    DatasetSummary,
    Event,
    Product,
    Row,
    SnapshotCompleted,
)
from plumbline_contracts.kafka import KafkaSettings

from tests.integration import parts
from tests.polling import free_port, until

PARTITIONS = 6
TENANT = "contoso"
EventT = TypeVar("EventT", bound=Event)
Record = tuple[bytes | None, bytes | None, envelope.Headers]


_NOTHING: dict[str, Any] = {"bool": False, "int": 0, "double": 0.0, "string": "", "timestamp": "", "string_list": []}
HARMLESS = {name: _NOTHING[field.type] for name, field in datasets(Product.SALESFORCE)["users"].fields.items()}
"""A user who may do nothing, in every field that there is."""


def user(number: int, **fields: Any) -> Row:
    """A Salesforce user who complies with every control of users, unless `fields` say otherwise."""
    base = {
        **HARMLESS,
        "id": f"005{number:012d}AAA",
        "username": f"user{number}@example.com",
        "is_standard": True,
        "is_integration": False,
        "is_frozen": False,
        "is_sso_bound": False,
        "must_use_sso": False,
        "has_logged_in": True,
        "idle_days": 1,
        "age_days": 400,
        "has_mfa_method": True,
        "has_phishing_resistant_mfa": True,
        "is_privileged": False,
        "is_system_administrator": number < 3,
    }
    return {**base, **fields}


@dataclass
class Snapshot:
    """A snapshot of a Salesforce org that holds nothing but users, in chunks."""

    instance: str
    pieces: Sequence[list[Row]] = field(default_factory=lambda: [[user(1), user(2)], [user(3, has_mfa_method=False)]])
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    snapshot_id: str = field(default_factory=ids.random_id)
    publication_id: str = field(default_factory=ids.random_id)

    @property
    def _base(self) -> dict[str, Any]:
        return {
            "tenant": TENANT,
            "instance": self.instance,
            "product": "salesforce",
            "snapshot_id": self.snapshot_id,
            "publication_id": self.publication_id,
        }

    @property
    def key(self) -> bytes:
        """The key of all its records."""
        return f"{TENANT}/{self.instance}".encode()

    def chunks(self) -> Iterator[bytes]:
        """The values of its chunks."""
        for number, rows in enumerate(self.pieces):
            yield envelope.encode(DatasetChunk(**self._base, dataset="users", sequence=number, rows=rows))

    def completed(self, chunks: ChunkRange | None) -> SnapshotCompleted:
        """Its completion."""
        users = DatasetSummary(
            name="users",
            kind="rows",
            state="ok",
            row_count=sum(map(len, self.pieces)),
            chunk_count=len(self.pieces),
            source="User",
        )
        return SnapshotCompleted(
            **self._base,
            request_id=ids.random_id(),
            reason="user",
            started_at=self.started_at,
            completed_at=self.started_at + timedelta(seconds=1),
            datasets=[users],
            chunks=chunks,
            collector_version="1",
        )


def completion(completed: SnapshotCompleted) -> Record:
    """The record of a completion as the collector writes it."""
    return completed.key.encode(), envelope.encode(completed), envelope.headers(completed, source="/collector/test")


@dataclass
class Evaluator:
    """`evaluator run` as a process."""

    service: parts.Service
    health_url: str

    def answer(self, path: str) -> int:
        """The status of a probe; 0 when nobody answers."""
        try:
            return httpx.get(f"{self.health_url}{path}", trust_env=False).status_code
        except httpx.TransportError:
            return 0

    def metric(self, name: str) -> float:
        """The value of a metric."""
        lines = httpx.get(f"{self.health_url}/metrics", trust_env=False).text.splitlines()
        return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")))

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """Its log, or the lines of one event."""
        found = [json.loads(line) for line in self.service.text().splitlines() if line.startswith("{")]
        return [line for line in found if event is None or line["event"] == event]

    def wait(self) -> int:
        """Its exit status, when it ends by itself."""
        return self.service.process.wait(60)

    def wait_until_ready(self) -> None:
        """Until it takes completions."""
        until(lambda: self.answer("/readyz") == 200, within_seconds=40, what="the evaluator is ready")

    def memory_kib(self) -> int:
        """The most memory that it has used so far."""
        status = Path(f"/proc/{self.service.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


@dataclass
class Stage:
    """Evaluators and snapshots on one set of topics."""

    kafka: KafkaSettings
    folder: Path
    started: list[Evaluator] = field(default_factory=list)

    def start(self, name: str = "evaluator-0", *, wait: bool = True, **settings: Any) -> Evaluator:
        """An evaluator; `settings` are its own variables without their prefix, or any others in capitals."""
        port = free_port()
        variables = {"name": name, "health_port": port, **settings}
        own = {
            key if key.isupper() else f"PLUMBLINE_EVALUATOR_{key.upper()}": str(value)
            for key, value in variables.items()
        }
        log = self.folder / f"{name}-{len(self.started)}.log"
        service = parts.Service(["evaluator", "run"], parts.environment(self.kafka, **own), log)
        evaluator = Evaluator(service, f"http://127.0.0.1:{port}")
        self.started.append(evaluator)
        if wait:
            evaluator.wait_until_ready()
        return evaluator

    def finish(self) -> None:
        """End what is left."""
        for evaluator in self.started:
            if evaluator.service.process.poll() is None:
                evaluator.service.kill()

    def produce(self, topic: str, records: Iterable[Record]) -> list[tuple[int, int]]:
        """Write records; partition and offset of each."""

        async def send() -> list[tuple[int, int]]:
            options = {"bootstrap_servers": self.kafka.kafka_bootstrap, "max_request_size": 2 * 1024 * 1024}
            async with AIOKafkaProducer(**options, compression_type="zstd", linger_ms=5) as producer:
                name, sent = self.kafka.topic(topic), []
                for key, value, headers in records:
                    sent.append(await producer.send(name, value, key=key, headers=headers))
                return [(found.partition, found.offset) for found in await asyncio.gather(*sent)]

        return asyncio.run(send())

    def write(
        self, snapshot: Snapshot, values: Iterable[bytes] | None = None, strangers: Iterable[bytes | None] = ()
    ) -> SnapshotCompleted:
        """Write the chunks alone, `strangers` behind the first; the completion that belongs to them.

        `values` are written instead of the snapshot's own chunks.
        """
        digest, own = ids.ChunkDigest(), []

        def records() -> Iterator[Record]:
            number = 0
            for value in snapshot.chunks() if values is None else values:
                digest.add(value)
                own.append(number)
                yield snapshot.key, value, []
                between = list(strangers) if number == 0 else []
                yield from ((snapshot.key, stranger, []) for stranger in between)
                number += 1 + len(between)

        places = self.produce("snapshot-chunks", records())
        where = ChunkRange(
            partition=places[0][0],
            first_offset=places[own[0]][1],
            last_offset=places[own[-1]][1],
            chunk_count=digest.count,
            digest=digest.hex(),
        )
        return snapshot.completed(where)

    def publish(self, *snapshots: Snapshot) -> list[SnapshotCompleted]:
        """Publish snapshots whole."""
        completed = [self.write(snapshot) for snapshot in snapshots]
        self.produce("config-snapshots", map(completion, completed))
        return completed

    def delete_chunks(self, chunks: ChunkRange | None) -> None:
        """Delete the chunks of a snapshot, and all before them, as retention would."""
        assert chunks is not None
        partition = TopicPartition(self.kafka.topic("snapshot-chunks"), chunks.partition)
        before = RecordsToDelete(chunks.last_offset + 1)

        async def delete() -> None:
            admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.kafka_bootstrap)
            await admin.start()
            try:
                await admin.delete_records({partition: before})
            finally:
                await admin.close()

        asyncio.run(delete())

    def records(self, topic: str) -> list[ConsumerRecord]:
        """All that lies on a topic now, by partition and offset."""
        found = asyncio.run(parts.records(self.kafka, topic))
        return sorted(found, key=lambda record: (record.partition, record.offset))

    def events(self, topic: str, model: type[EventT]) -> list[EventT]:
        """The events on a topic."""
        return [envelope.decode(model, record.value, record.headers) for record in self.records(topic)]

    def parts(self, instance: str | None = None) -> list[ControlResults]:
        """The parts so far, of one instance or of all."""
        found = self.events("control-results", ControlResults)
        return [part for part in found if instance in (None, part.instance)]

    def wait_for_evaluation(self, instance: str, *, count: int = 1, within_seconds: float = 30) -> list[ControlResults]:
        """The parts of an instance, as soon as `count` evaluations of it have their last one."""

        def look() -> list[ControlResults] | None:
            found = self.parts(instance)
            return found if sum(part.part_count is not None for part in found) >= count else None

        return until(look, within_seconds=within_seconds, what=f"{count} whole evaluations of {instance}")

    def definitions(self) -> dict[str, ControlDefinition]:
        """Key to the newest definition on `control-catalogue`."""
        return {definition.key: definition for definition in self.events("control-catalogue", ControlDefinition)}

    def committed(self) -> int:
        """How many completions the group has acknowledged."""

        async def read() -> int:
            name = self.kafka.topic("config-snapshots")
            options = {"bootstrap_servers": self.kafka.kafka_bootstrap, "group_id": self.kafka.group("evaluator")}
            async with AIOKafkaConsumer(enable_auto_commit=False, **options) as consumer:
                consumer.assign([TopicPartition(name, number) for number in range(PARTITIONS)])
                return sum([await consumer.committed(partition) or 0 for partition in consumer.assignment()])

        return asyncio.run(read())

    def wait_for_commits(self, count: int) -> None:
        """Until so many completions are acknowledged."""
        until(lambda: self.committed() == count, within_seconds=30, what=f"{count} completions are acknowledged")


def results(found: Iterable[ControlResults]) -> dict[str, ControlResult]:
    """Control id to result, over the parts of one evaluation."""
    return {result.control_id: result for part in found for result in part.results}
