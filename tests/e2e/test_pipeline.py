"""The whole stack: a setting moves and the score with it; crashes and duplicates change nothing."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.e2e.stack import Findings, Stack, findings, score
from tests.polling import until

SALESFORCE, SERVICENOW = "salesforce-demo", "servicenow-demo"


def _evaluated_at(client: httpx.Client, instance: str) -> str:
    return str(client.get(f"/v1/instances/{instance}").raise_for_status().json()["evaluated_at"])


def _scan(client: httpx.Client, instance: str) -> None:
    assert client.post(f"/v1/instances/{instance}/scan").status_code == 202


def _scan_and_wait(client: httpx.Client, instance: str) -> None:
    before = _evaluated_at(client, instance)
    _scan(client, instance)
    until(lambda: _evaluated_at(client, instance) != before, within_seconds=60, what=f"{instance} is evaluated again")


def _outcome(client: httpx.Client, instance: str, control: str) -> str:
    return str(client.get(f"/v1/recommendations/{instance}/{control}").raise_for_status().json()["outcome"])


def test_up_prints_a_score_per_product(stack: Stack) -> None:
    printed = stack.up()
    assert "salesforce" in printed.lower()
    assert "servicenow" in printed.lower()
    assert "%" in printed


def test_both_products_are_judged_by_the_51_controls(client: httpx.Client) -> None:
    for instance, prefix, count in ((SALESFORCE, "MDA_SF_", 29), (SERVICENOW, "MDA_SNOW_", 22)):
        page = client.get("/v1/recommendations", params={"instance": instance, "limit": 100}).raise_for_status().json()
        aliases = [alias for item in page["items"] for alias in item["aliases"] if alias.startswith(prefix)]
        assert len(aliases) == count


@pytest.mark.parametrize(
    ("instance", "control", "setting", "weak", "strong"),
    [
        (SALESFORCE, "MDA_SF_password_minimumPasswordLength", "passwordPolicies.minimumPasswordLength", "5", "12"),
        (SERVICENOW, "MDA_SNOW_soapStrictSecurity", "glide.soap.strict_security", "false", "true"),
    ],
)
def test_a_changed_setting_moves_the_score(
    stack: Stack, client: httpx.Client, instance: str, control: str, setting: str, weak: str, strong: str
) -> None:
    stack.run("simulate", "set", instance, setting, weak)
    _scan(client, instance)
    until(lambda: _outcome(client, instance, control) == "FAIL", within_seconds=30, what=f"{control} fails")
    before = score(client)["current"]
    stack.run("simulate", "set", instance, setting, strong)
    _scan(client, instance)
    until(lambda: _outcome(client, instance, control) == "PASS", within_seconds=30, what=f"{control} passes")
    points = client.get(f"/v1/recommendations/{instance}/{control}").json()["max_points"]
    assert score(client)["current"] == pytest.approx(before + points)


def test_the_change_watch_sees_a_change_without_a_scan(stack: Stack, client: httpx.Client) -> None:
    control = "MDA_SF_password_obscureSecretAnswer"
    wanted = "FAIL" if _outcome(client, SALESFORCE, control) == "PASS" else "PASS"
    value = "true" if wanted == "PASS" else "false"
    stack.run("simulate", "set", SALESFORCE, "passwordPolicies.obscureSecretAnswer", value)
    until(lambda: _outcome(client, SALESFORCE, control) == wanted, within_seconds=60, what="the change watch notices")


def _everything(client: httpx.Client) -> tuple[Findings, float, float]:
    total = score(client)
    return findings(client), total["current"], total["max"]


@pytest.mark.parametrize("victim", ["collector", "evaluator", "score-api-project"])
def test_kill_9_in_the_middle_changes_no_final_score(stack: Stack, client: httpx.Client, victim: str) -> None:
    for instance in (SALESFORCE, SERVICENOW):
        _scan_and_wait(client, instance)
    undisturbed = _everything(client)
    before = {instance: _evaluated_at(client, instance) for instance in (SALESFORCE, SERVICENOW)}
    process = stack.process(victim)
    for instance in before:
        _scan(client, instance)
    os.kill(process.pid, signal.SIGKILL)
    until(
        lambda: all(_evaluated_at(client, instance) != at for instance, at in before.items()),
        within_seconds=90,
        what=f"both instances are evaluated after {victim} was killed",
    )
    assert _everything(client) == undisturbed
    assert stack.process(victim).pid != process.pid


async def _deliver_again(bootstrap: str, topic: str) -> int:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    await consumer.start()
    await producer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        records: list[Any] = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            batches = await consumer.getmany(timeout_ms=500)
            records += [record for batch in batches.values() for record in batch]
        for record in records:
            await producer.send_and_wait(
                topic, record.value, key=record.key, partition=record.partition, headers=list(record.headers)
            )
        return len(records)
    finally:
        await consumer.stop()
        await producer.stop()


async def _lag(bootstrap: str, group: str, topic: str) -> int:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=None)
    await consumer.start()
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        committed = await admin.list_consumer_group_offsets(group)
        return sum(end - (committed[tp].offset if tp in committed else 0) for tp, end in ends.items() if end)
    finally:
        await admin.close()
        await consumer.stop()


@pytest.mark.parametrize(
    ("topic", "group"), [("control-results", "score-api-project"), ("config-snapshots", "evaluator")]
)
def test_a_batch_delivered_twice_changes_nothing(stack: Stack, client: httpx.Client, topic: str, group: str) -> None:
    status = stack.status
    bootstrap, prefix = status["kafka_bootstrap"], status["topic_prefix"]
    undisturbed = _everything(client)
    delivered = asyncio.run(_deliver_again(bootstrap, prefix + topic))
    assert delivered > 0
    caught_up: Callable[[], bool] = lambda: asyncio.run(_lag(bootstrap, prefix + group, prefix + topic)) == 0  # noqa: E731
    until(caught_up, within_seconds=60, what=f"{group} has read {topic} to its end")
    assert _everything(client) == undisturbed
