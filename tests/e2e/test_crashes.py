"""Crashes and duplicates change nothing: the final scores are those of an undisturbed run."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
from aiokafka import AIOKafkaProducer

from tests.e2e.broker import Broker
from tests.e2e.stack import SALESFORCE, SERVICENOW, Findings, Stack, evaluated_at, findings, scan, score
from tests.polling import until

ATTEMPTS = 5
BOTH = (SALESFORCE, SERVICENOW)
READERS = (("evaluator", "config-snapshots"), ("score-api-project", "control-results"))
State = tuple[Findings, float, float]


@pytest.fixture
def broker(stack: Stack) -> Broker:
    """The stack's broker."""
    status = stack.status
    return Broker(status["kafka_bootstrap"], status["topic_prefix"])


@pytest.fixture(scope="module")
def undisturbed(stack: Stack) -> State:
    """What an undisturbed run gives."""
    with stack.client() as client:
        until(_both_scanned(client), within_seconds=60, what="both instances are evaluated")
        return _everything(client)


def _everything(client: httpx.Client) -> State:
    total = score(client)
    return findings(client), total["current"], total["max"]


def _both_scanned(client: httpx.Client) -> Callable[[], bool]:
    """Ask for both instances to be read; whether both were evaluated since."""
    before = {instance: evaluated_at(client, instance) for instance in BOTH}
    for instance in before:
        scan(client, instance)
    return lambda: all(evaluated_at(client, instance) != at for instance, at in before.items())


async def _deliver_again(broker: Broker, topic: str) -> int:
    """Send every record of the topic once more; how many."""
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap, enable_idempotence=True, max_request_size=2 * 1024 * 1024
    )
    await producer.start()
    try:
        records = await broker.records(topic)
        for record in records:
            await producer.send_and_wait(
                record.topic, record.value, key=record.key, partition=record.partition, headers=list(record.headers)
            )
        return len(records)
    finally:
        await producer.stop()


@pytest.mark.parametrize("topic", ["control-results", "config-snapshots"])
def test_a_batch_delivered_twice_changes_nothing(
    client: httpx.Client, broker: Broker, undisturbed: State, topic: str
) -> None:
    assert asyncio.run(_deliver_again(broker, topic)) > 0

    def all_is_read() -> bool:
        return all(asyncio.run(broker.lag(group, read)) == 0 for group, read in READERS)

    until(all_is_read, within_seconds=90, what="evaluator and projector have read everything")
    assert _everything(client) == undisturbed


def _is_slow_now(url: str) -> bool:
    """Whether the one slow answer of this simulator has been asked for."""
    faults = httpx.get(f"{url}/__simulator/state", trust_env=False).raise_for_status().json()["faults"]
    return [fault["times"] for fault in faults] == [0]


def _spooled(stack: Stack) -> list[Path]:
    return [file for file in (stack.home / "spool").rglob("*") if file.is_file()]


def test_kill_9_of_the_collector_while_it_reads_changes_no_final_score(
    stack: Stack, client: httpx.Client, undisturbed: State
) -> None:
    for instance, rows in ((SALESFORCE, "FROM+User"), (SERVICENOW, "table/sys_user")):
        once = ("--match", rows, "--seconds", "60", "--times", "1")
        stack.run("simulate", "fault", instance, "slow", *once)
    process = stack.process("collector")
    evaluated = _both_scanned(client)
    urls = stack.status["simulators"].values()
    until(lambda: all(_is_slow_now(url) for url in urls), within_seconds=30, what="both collections are under way")
    assert len(_spooled(stack)) == 2
    process.kill()
    assert not evaluated()
    until(evaluated, within_seconds=90, what="both instances are evaluated after the collector was killed")
    assert _everything(client) == undisturbed
    assert stack.pid("collector") != process.pid
    until(lambda: _spooled(stack) == [], within_seconds=10, what="nothing of the interrupted collections is left")


async def _killed_on_arrival(
    broker: Broker, group: str, topic: str, process: psutil.Process, ask: Callable[[], Callable[[], bool]]
) -> tuple[Callable[[], bool], int]:
    """Kill -9 as soon as the topic has a new record: what tells the evaluation, and the unacknowledged records."""
    async with broker.reader(topic) as reader, broker.admin() as admin:
        before = await broker.end(reader)
        evaluated = await asyncio.to_thread(ask)
        while await broker.end(reader) == before:
            pass
        process.kill()
        return evaluated, await broker.unacknowledged(admin, reader, group)


@pytest.mark.parametrize(("victim", "topic"), READERS)
def test_kill_9_with_a_record_in_hand_changes_no_final_score(
    stack: Stack, client: httpx.Client, broker: Broker, undisturbed: State, victim: str, topic: str
) -> None:
    for _ in range(ATTEMPTS):
        process = stack.process(victim)
        evaluated, in_hand = asyncio.run(
            _killed_on_arrival(broker, victim, topic, process, partial(_both_scanned, client))
        )
        until(evaluated, within_seconds=90, what=f"both instances are evaluated after {victim} was killed")
        assert _everything(client) == undisturbed
        assert stack.pid(victim) != process.pid
        if in_hand:
            return
    raise AssertionError(f"{victim} was never killed before it had acknowledged what it was working on")


@pytest.mark.parametrize("store", ["kafka", "mongodb"])
def test_kill_9_of_broker_or_database_loses_nothing(
    stack: Stack, client: httpx.Client, undisturbed: State, store: str
) -> None:
    process = stack.process(store)
    process.kill()

    def accepts_scans() -> bool:
        return {client.post(f"/v1/instances/{instance}/scan").status_code for instance in BOTH} == {202}

    until(lambda: stack.pid(store) not in (None, process.pid), within_seconds=30, what=f"{store} runs again")
    until(accepts_scans, within_seconds=60, what=f"scans are taken again after {store} was killed")
    until(_both_scanned(client), within_seconds=90, what=f"both instances are evaluated after {store} was killed")
    assert _everything(client) == undisturbed
