"""Collectors and simulated orgs as processes of their own, and what lies on the topics."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord
from plumbline_contracts import envelope, ids
from plumbline_contracts.events import (
    CollectionRequest,
    Event,
    Health,
    InstanceStatus,
    RequestReason,
    SnapshotCompleted,
)
from plumbline_contracts.kafka import KafkaSettings

from tests.polling import free_port, until

BIN = Path(sys.executable).parent
SECRET = "simulated-orgs-only"
SECRET_VARIABLE = "PLUMBLINE_TEST_SIMULATOR_SECRET"
PARTITIONS = 6
EventT = TypeVar("EventT", bound=Event)


def entry(instance: str, at: str, product: str = "salesforce", **changes: Any) -> dict[str, Any]:
    """A connection to a simulated org, read in full once an hour and looked at as rarely."""
    usual = {
        "tenant": "demo",
        "instance": instance,
        "product": product,
        "url": at,
        "auth": {
            "method": "client_credentials",
            "client_id": "plumbline-simulated-client",
            "client_secret": {"env": SECRET_VARIABLE},
        },
        "schedule": {"full": "1h", "changes": "1h"},
        "allow_http": True,
        "allow_private_network": True,
    }
    return usual | changes


def write(path: Path, *entries: dict[str, Any]) -> None:
    """A connections file, put in place at once."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"connections": list(entries)}))
    draft.replace(path)


@dataclass
class Org:
    """A running simulator."""

    url: str

    def fault(self, *faults: dict[str, Any]) -> None:
        """Make it fail so from now on; without any, work again."""
        httpx.put(f"{self.url}/__simulator/faults", json=list(faults), trust_env=False).raise_for_status()

    def change(self, name: str, value: Any) -> None:
        """Change a setting as an administrator would."""
        answer = httpx.put(f"{self.url}/__simulator/settings/{name}", json={"value": value}, trust_env=False)
        answer.raise_for_status()

    def requests(self) -> dict[str, int]:
        """Calls so far by kind."""
        counted: dict[str, int] = httpx.get(f"{self.url}/__simulator/requests", trust_env=False).json()
        return counted


@contextmanager
def simulated(product: str = "salesforce", **options: Any) -> Iterator[Org]:
    """A simulator process."""
    port = free_port()
    arguments = [f"--{name}={value}" for name, value in options.items()]
    command = [str(BIN / "plumbline-simulator"), "serve", f"--product={product}", f"--port={port}", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    org = Org(f"http://127.0.0.1:{port}")
    try:
        until(lambda: _answers(org), within_seconds=60, what=f"the {product} simulator answers")
        yield org
    finally:
        process.kill()  # asked kindly, it would first finish the answers that a fault delays
        process.wait(10)


def _answers(org: Org) -> bool:
    try:
        return org.requests() is not None
    except httpx.TransportError:
        return False


@dataclass
class Collector:
    """`collector run` as a process."""

    process: subprocess.Popen[bytes]
    log: Path
    health_url: str

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    @property
    def is_ready(self) -> bool:
        """Whether its probe says so."""
        try:
            return httpx.get(f"{self.health_url}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """Its log, or the lines of one event."""
        found = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in found if event is None or line["event"] == event]

    def kill(self) -> None:
        """End it without a warning."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Ask it to end; its exit status."""
        self.process.terminate()
        return self.process.wait(30)


@dataclass
class Fleet:
    """Starts collectors on one set of topics and stops those that are left."""

    kafka: KafkaSettings
    folder: Path
    connections: Path
    started: list[Collector] = field(default_factory=list)

    def start(self, name: str = "collector-0", *, wait: bool = True, **settings: Any) -> Collector:
        """A collector; `settings` are variables without their prefix."""
        port = free_port()
        environment = {
            **os.environ,
            SECRET_VARIABLE: SECRET,
            "PLUMBLINE_KAFKA_BOOTSTRAP": self.kafka.kafka_bootstrap,
            "PLUMBLINE_TOPIC_PREFIX": self.kafka.topic_prefix,
            "PLUMBLINE_CONNECTIONS": str(self.connections),
            "PLUMBLINE_LOG_FORMAT": "json",
            "PLUMBLINE_COLLECTOR_NAME": name,
            "PLUMBLINE_COLLECTOR_SPOOL_DIR": str(self.folder / "spool"),
            "PLUMBLINE_COLLECTOR_HEALTH_PORT": str(port),
            **{f"PLUMBLINE_COLLECTOR_{key.upper()}": str(value) for key, value in settings.items()},
        }
        log = self.folder / f"{name}-{len(self.started)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen([str(BIN / "collector"), "run"], env=environment, stdout=out, stderr=out)
        collector = Collector(process, log, f"http://127.0.0.1:{port}")
        self.started.append(collector)
        if wait:
            until(lambda: collector.is_ready, within_seconds=30, what=f"{name} is ready: {log.read_text()[-2000:]}")
        return collector

    def spools(self) -> list[Path]:
        """The spool files on disk."""
        return list((self.folder / "spool").rglob("*.spool"))

    def finish(self) -> None:
        """End what is left."""
        for collector in self.started:
            if collector.is_running:
                collector.kill()

    def ask(self, *requests: CollectionRequest) -> None:
        """Write requests, as the API would."""
        self.produce(
            "collection-requests",
            [(r.key.encode(), envelope.encode(r), envelope.headers(r, source="/test")) for r in requests],
        )

    def produce(self, topic: str, records: list[tuple[bytes | None, bytes, envelope.Headers]]) -> None:
        """Write records to a topic of this test."""

        async def send() -> None:
            async with AIOKafkaProducer(bootstrap_servers=self.kafka.kafka_bootstrap) as producer:
                for key, value, headers in records:
                    await producer.send(self.kafka.topic(topic), value, key=key, headers=headers)

        asyncio.run(send())

    def records(self, topic: str) -> list[ConsumerRecord]:
        """All that lies on a topic now, by partition and offset."""

        async def read() -> list[ConsumerRecord]:
            name, found = self.kafka.topic(topic), []
            options = {"bootstrap_servers": self.kafka.kafka_bootstrap, "auto_offset_reset": "earliest"}
            async with AIOKafkaConsumer(name, enable_auto_commit=False, **options) as consumer:
                ends = await consumer.end_offsets(consumer.assignment())
                while not all([await consumer.position(partition) >= end for partition, end in ends.items()]):
                    for batch in (await consumer.getmany(timeout_ms=200)).values():
                        found += batch
            return sorted(found, key=lambda record: (record.partition, record.offset))

        return asyncio.run(read())

    def events(self, topic: str, model: type[EventT]) -> list[EventT]:
        """The events on a topic."""
        return [envelope.decode(model, record.value, record.headers) for record in self.records(topic)]

    def snapshots(self) -> list[SnapshotCompleted]:
        """The completions so far."""
        return self.events("config-snapshots", SnapshotCompleted)

    def wait_for_snapshots(
        self, are_these: Callable[[list[SnapshotCompleted]], object], *, what: str, within_seconds: float = 30
    ) -> list[SnapshotCompleted]:
        """The completions, as soon as they are these."""

        def look() -> list[SnapshotCompleted] | None:
            found = self.snapshots()
            return found if are_these(found) else None

        return until(look, within_seconds=within_seconds, what=what)

    def wait_for_answer(self, request: CollectionRequest, *, within_seconds: float = 20) -> SnapshotCompleted:
        """The snapshot that answers a request."""

        def look() -> SnapshotCompleted | None:
            return next((s for s in self.snapshots() if s.request_id == request.request_id), None)

        return until(look, within_seconds=within_seconds, what=f"an answer to the request for {request.key}")

    def status(self, instance: str) -> InstanceStatus | None:
        """The newest status of an instance."""
        return {s.instance: s for s in self.events("instance-status", InstanceStatus)}.get(instance)

    def wait_for_health(self, instance: str, health: Health, *, within_seconds: float = 30) -> InstanceStatus:
        """The status of an instance that is not being read, as soon as its health is this."""

        def look() -> InstanceStatus | None:
            found = self.status(instance)
            return found if found and found.health is health and not found.is_collecting else None

        return until(look, within_seconds=within_seconds, what=f"{instance} is {health}")

    def committed(self) -> int:
        """How many requests the group has acknowledged."""

        async def read() -> int:
            name = self.kafka.topic("collection-requests")
            options = {"bootstrap_servers": self.kafka.kafka_bootstrap, "group_id": self.kafka.group("collector")}
            async with AIOKafkaConsumer(enable_auto_commit=False, **options) as consumer:
                consumer.assign([TopicPartition(name, number) for number in range(PARTITIONS)])
                return sum([await consumer.committed(partition) or 0 for partition in consumer.assignment()])

        return asyncio.run(read())


def request(instance: str) -> CollectionRequest:
    """A person asks for a collection."""
    return CollectionRequest(
        request_id=ids.random_id(),
        tenant="demo",
        instance=instance,
        reason=RequestReason.USER,
        requested_by="a person",
        requested_at=datetime.now(UTC),
    )
