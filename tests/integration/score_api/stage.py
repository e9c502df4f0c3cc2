"""Both roles as processes on a real broker and a real database, and what a test sees of them."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import httpx
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from plumbline_contracts import envelope
from plumbline_contracts.events import ControlDefinition, ControlResults, InstanceStatus
from plumbline_contracts.kafka import KafkaSettings
from plumbline_score_api import app as composition
from plumbline_score_api.app import Database
from plumbline_score_api.settings import Settings

from tests.integration.parts import Service, documents, environment, records, send, service
from tests.integration.score_api.events import Judged, definition, record
from tests.integration.score_api.in_process import ALL_ROLES, client_for, seen_by
from tests.polling import free_port, until

T = TypeVar("T")
Event = ControlResults | ControlDefinition | InstanceStatus
Header = tuple[str, bytes]


class Running:
    """A role that runs, with its health port."""

    def __init__(self, process: Service, health_port: int) -> None:
        self.service, self._health = process, f"http://127.0.0.1:{health_port}"

    @property
    def process(self) -> Any:
        return self.service.process

    def probe(self, path: str) -> int:
        """The status of a probe; 0 while nothing answers."""
        try:
            return httpx.get(f"{self._health}{path}", timeout=10, trust_env=False).status_code
        except httpx.TransportError:
            return 0

    def metric(self, sample: str) -> float:
        """The value of a metric; 0 when it is not there."""
        text = httpx.get(f"{self._health}/metrics", trust_env=False).text
        found = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(f"{sample} ")]
        return float(found[0]) if found else 0.0

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Its log lines of an event."""
        told = [json.loads(line) for line in self.service.text().splitlines() if line.startswith("{")]
        return [line for line in told if line["event"] == event]

    def wait_ready(self) -> "Running":
        """Wait until it is ready, or say what it wrote."""
        until(lambda: self._is_ready(), within_seconds=60, what="the role is ready")
        return self

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.service.text()
        return self.probe("/readyz") == 200


class Stage:
    """Topics and a database, whose roles end with the test."""

    def __init__(self, kafka: KafkaSettings, mongodb_url: str, folder: Path) -> None:
        self.kafka, self.mongodb_url, self.folder = kafka, mongodb_url, folder
        self._running = ExitStack()

    def finish(self) -> None:
        """Stop what runs."""
        self._running.close()

    def start(self, role: str, name: str = "score-api-0", **settings: Any) -> Running:
        """Start a role without waiting for it."""
        port = free_port()
        chosen = {"name": name, "health_port": port, "stale_after_hours": 24 * 30, **settings}
        own = {f"PLUMBLINE_SCORE_API_{key.upper()}": str(value) for key, value in chosen.items()}
        env = environment(self.kafka, PLUMBLINE_MONGODB_URL=self.mongodb_url, **own)
        log = self.folder / f"{role}-{name}.log"
        return Running(self._running.enter_context(service(["score-api", role], env, log)), port)

    def project(self, name: str = "score-api-0", **settings: Any) -> Running:
        """A projector that is ready."""
        return self.start("project", name, **settings).wait_ready()

    def serve(self, **settings: Any) -> tuple[Running, httpx.Client]:
        """The API, ready, and a client with a key that has all roles."""
        port = free_port()
        running = self.start("serve", "serve", port=port, **settings).wait_ready()
        headers = {"Authorization": f"Bearer {self.key()}"}
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20, trust_env=False)
        return running, self._running.enter_context(client)

    def key(self) -> str:
        """A fresh key with all roles."""
        return str(self.ask(lambda _, services: services.keys.create("contoso", "tests", ALL_ROLES)))

    # --- the database

    def ask(self, question: Callable[[Database, Any], Awaitable[T]]) -> T:
        """The answer of the database, or of the services over it."""

        async def answer() -> T:
            settings = Settings.model_validate({"PLUMBLINE_MONGODB_URL": self.mongodb_url})
            async with composition.open_database(settings) as database:
                return await question(database, composition.build_services(database, _ask_nobody))

        return asyncio.run(answer())

    def seen(self) -> dict[str, Any]:
        """All that the tenant sees."""

        async def see(_: Database, services: Any) -> dict[str, Any]:
            async with client_for(services, await services.keys.create("contoso", "eyes", ALL_ROLES)) as client:
                return await seen_by(client)

        return self.ask(see)

    def score(self) -> float:
        """The points that the tenant achieved."""
        found = self.ask(lambda _, services: services.scores.secure_score("contoso"))
        return float(found.current)

    def count(self, collection: str, query: dict[str, Any] | None = None) -> int:
        """How many documents there are."""
        return self.ask(lambda database, _: database[collection].count_documents(query or {}))

    # --- the broker

    def send(self, topic: str, *events: Event) -> None:
        """Produce events."""
        asyncio.run(send(self.kafka, topic, *map(record, events)))

    def define(self, *controls: str, **changes: Any) -> None:
        """Produce definitions."""
        self.send("control-catalogue", *(definition(control, **changes) for control in controls))

    def judge(self, *evaluations: Judged) -> None:
        """Produce the parts of evaluations, one after the other."""
        self.send("control-results", *(part for judged in evaluations for part in judged.parts()))

    def send_raw(self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Header] = ()) -> None:
        """Produce a record as it is."""
        asyncio.run(_produce(self.kafka, topic, [(key, value, list(headers))]))

    def on(self, topic: str) -> list[Any]:
        """The records of a topic."""
        return asyncio.run(records(self.kafka, topic))

    def values(self, topic: str) -> list[dict[str, Any]]:
        """The values of a topic."""
        return asyncio.run(documents(self.kafka, topic))

    def committed(self, topic: str) -> int:
        """How many records of a topic the projector's group has committed, over all partitions."""
        return asyncio.run(_committed(self.kafka, topic))

    def wait_committed(self, topic: str, within_seconds: float = 30) -> None:
        """Wait until the group has committed everything on a topic."""
        wanted = len(self.on(topic))
        until(lambda: self.committed(topic) == wanted, within_seconds=within_seconds, what=f"{topic} is committed")


async def _ask_nobody(_: Any) -> None:
    raise AssertionError("nothing asks for a collection here")


async def _produce(
    kafka: KafkaSettings, topic: str, what: Iterable[tuple[bytes | None, bytes | None, list[Header]]]
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.kafka_bootstrap, max_request_size=2 * 1024 * 1024)
    await producer.start()
    try:
        for key, value, headers in what:
            await producer.send_and_wait(kafka.topic(topic), value, key=key, headers=headers)
    finally:
        await producer.stop()


async def _committed(kafka: KafkaSettings, topic: str) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.kafka_bootstrap)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(kafka.group("score-api-project"))
    finally:
        await admin.close()
    wanted: list[tuple[TopicPartition, Any]] = list(found.items())
    return sum(max(meta.offset, 0) for partition, meta in wanted if partition.topic == kafka.topic(topic))


def headers_of(event: Event) -> list[Header]:
    """The headers that a producer gives an event."""
    return envelope.headers(event, source="/tests")
