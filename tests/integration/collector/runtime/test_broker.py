"""A broker that is not there, has no topics, or goes away for a while."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.provisioning import create_topics
from plumbline_local import kafka as local_kafka

from tests.integration.collector.runtime.service import Fleet, Org, entry, request, write
from tests.polling import free_port, until


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Fleet]:
    """Collectors for a broker that the test starts itself, or does not."""
    kafka = KafkaSettings(kafka_bootstrap=f"127.0.0.1:{free_port()}", topic_prefix="alone.")
    fleet = Fleet(kafka, tmp_path, tmp_path / "connections.yaml")
    yield fleet
    fleet.finish()


def test_a_broker_that_is_not_there_ends_the_start_with_a_clear_line(alone: Fleet) -> None:
    write(alone.connections, entry("sf", "http://127.0.0.1:9"))
    collector = alone.start(wait=False, startup_timeout_seconds=2)
    assert collector.process.wait(30) == 1
    (line,) = collector.lines("collector stops")
    assert f"the broker at {alone.kafka.kafka_bootstrap} did not answer" in line["problem"]
    assert "PLUMBLINE_KAFKA_BOOTSTRAP" in line["problem"]
    assert "Traceback" not in collector.log.read_text()


def test_a_stop_while_the_broker_is_not_there_is_obeyed_at_once(alone: Fleet) -> None:
    write(alone.connections, entry("sf", "http://127.0.0.1:9"))
    collector = alone.start(wait=False)
    until(lambda: collector.lines("broker does not answer yet"), within_seconds=30, what="it waits for the broker")
    collector.process.terminate()
    assert collector.process.wait(8) == 0


def test_missing_topics_end_the_start_with_the_command_to_run(kafka: local_kafka.KafkaBroker, tmp_path: Path) -> None:
    settings = KafkaSettings(kafka_bootstrap=kafka.bootstrap, topic_prefix="nothing-here.")
    fleet = Fleet(settings, tmp_path, tmp_path / "connections.yaml")
    write(fleet.connections, entry("sf", "http://127.0.0.1:9"))
    collector = fleet.start(wait=False)
    assert collector.process.wait(30) == 1
    (line,) = collector.lines("collector stops")
    assert "contracts topics create" in line["problem"]
    assert "nothing-here.snapshot-chunks" in line["problem"]


def test_a_taken_health_port_is_said(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    fleet = Fleet(kafka_settings, tmp_path, tmp_path / "connections.yaml")
    write(fleet.connections, entry("sf", "http://127.0.0.1:9"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        collector = fleet.start(wait=False, health_port=port)
        assert collector.process.wait(30) == 1
    (line,) = collector.lines("collector stops")
    assert f"127.0.0.1:{port}" in line["problem"]


def test_a_broker_that_goes_away_is_waited_for_and_nothing_is_lost(
    alone: Fleet, salesforce: Org, tmp_path: Path
) -> None:
    port, controller = int(alone.kafka.kafka_bootstrap.rpartition(":")[2]), free_port()
    broker = local_kafka.start(tmp_path / "kafka", port, controller)
    try:
        asyncio.run(create_topics(alone.kafka, replication_factor=1))
        write(alone.connections, entry("sf", salesforce.url))
        collector = alone.start()
        until(lambda: len(alone.snapshots()) == 1, within_seconds=30, what="the first snapshot")
        salesforce.fault({"kind": "slow", "seconds": 3, "match": "FROM+UserLogin", "times": -1})
        alone.ask(asked := request("sf"))
        until(lambda: len(collector.lines("collection started")) == 2, within_seconds=20, what="it is in work")
        broker.stop()
        until(lambda: not collector.is_ready, within_seconds=30, what="it is not ready without a broker")
        broker = local_kafka.start(tmp_path / "kafka", port, controller)
        until(
            lambda: any(s.request_id == asked.request_id for s in alone.snapshots()),
            within_seconds=60,
            what="the answer is published when the broker is back",
        )
        until(lambda: alone.committed() == 2, within_seconds=30, what="the commit is made up for")
        until(lambda: collector.is_ready, within_seconds=30, what="it is ready again")
        assert collector.is_running
        assert collector.stop() == 0
    finally:
        broker.stop()


def test_a_broker_that_stays_away_ends_in_a_clear_line_and_the_request_is_answered_later(
    alone: Fleet, salesforce: Org, tmp_path: Path
) -> None:
    port, controller = int(alone.kafka.kafka_bootstrap.rpartition(":")[2]), free_port()
    broker = local_kafka.start(tmp_path / "kafka", port, controller)
    try:
        asyncio.run(create_topics(alone.kafka, replication_factor=1))
        write(alone.connections, entry("sf", salesforce.url))
        collector = alone.start(publish_timeout_seconds=3)
        alone.wait_for_snapshots(lambda s: len(s) == 1, what="the first snapshot")
        salesforce.fault({"kind": "slow", "seconds": 3, "match": "FROM+UserLogin", "times": -1})
        alone.ask(asked := request("sf"))
        until(lambda: len(collector.lines("collection started")) == 2, within_seconds=20, what="it is in work")
        broker.stop()
        assert collector.process.wait(40) == 1
        (line,) = collector.lines("collector stops")
        assert f"the broker at {alone.kafka.kafka_bootstrap} did not acknowledge within 3 s" in line["problem"]
        assert "Traceback" not in collector.log.read_text()
        assert alone.spools() == []
        salesforce.fault()
        broker = local_kafka.start(tmp_path / "kafka", port, controller)
        alone.start()
        alone.wait_for_answer(asked, within_seconds=30)
    finally:
        broker.stop()
