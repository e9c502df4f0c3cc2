"""Real parts for integration and end-to-end tests: one broker and one database per run, names per test."""

import asyncio
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.provisioning import create_topics
from plumbline_local import kafka as local_kafka
from plumbline_local import mongodb as local_mongodb

hypothesis.register_profile("steady", deadline=None)  # a machine that is busy is no fault of an example
hypothesis.load_profile("steady")


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_kafka.KafkaBroker]:
    """A real Apache Kafka broker, shared by the run. `.bootstrap` is its address."""
    home: Path = tmp_path_factory.mktemp("kafka")
    broker = local_kafka.start(home, free_port(), free_port())
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def mongodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_mongodb.MongoServer]:
    """A real MongoDB-wire database on disk, shared by the run. `.url` has no database name."""
    server = local_mongodb.start(tmp_path_factory.mktemp("mongodb"), free_port())
    yield server
    server.stop()


@pytest.fixture
def topic_prefix(kafka: local_kafka.KafkaBroker) -> str:
    """A prefix of this test's own, with every topic of the registry created under it."""
    prefix = f"t{uuid.uuid4().hex[:10]}."
    settings = KafkaSettings(kafka_bootstrap=kafka.bootstrap, topic_prefix=prefix)
    asyncio.run(create_topics(settings, replication_factor=1))
    return prefix


@pytest.fixture
def kafka_settings(kafka: local_kafka.KafkaBroker, topic_prefix: str) -> KafkaSettings:
    """Settings of this test's topics."""
    return KafkaSettings(kafka_bootstrap=kafka.bootstrap, topic_prefix=topic_prefix)


@pytest.fixture
def mongodb_url(mongodb_server: local_mongodb.MongoServer) -> str:
    """The URL of a database of this test's own."""
    return f"{mongodb_server.url.rstrip('/')}/t{uuid.uuid4().hex[:10]}"
