"""One trace from the request for a collection, over four topics and three services, to the answer that shows it."""

import asyncio

import httpx
import pytest

from tests.e2e.broker import Broker
from tests.e2e.stack import SALESFORCE, SERVICENOW, Stack
from tests.polling import until

TOPICS = ("collection-requests", "snapshot-chunks", "config-snapshots", "control-results")
SERVICES = ("collector", "evaluator", "score-api-project", "score-api-serve")


@pytest.mark.parametrize(
    ("instance", "trace"),
    [(SALESFORCE, "0af7651916cd43dd8448eb211c80319c"), (SERVICENOW, "1bf7651916cd43dd8448eb211c80319d")],
)
def test_a_trace_goes_from_the_request_to_the_projected_evaluation(
    stack: Stack, client: httpx.Client, instance: str, trace: str
) -> None:
    sent = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    answer = client.post(f"/v1/instances/{instance}/scan", headers=sent)
    assert (answer.status_code, answer.json()["trace_id"]) == (202, trace)
    assert trace in answer.headers["traceresponse"]
    path = f"/v1/instances/{instance}"
    until(lambda: client.get(path).json()["trace_id"] == trace, within_seconds=60, what="the evaluation is projected")
    found = stack.status
    broker = Broker(found["kafka_bootstrap"], found["topic_prefix"])
    for topic in TOPICS:
        records = asyncio.run(broker.records(topic))
        mine = [record for record in records if trace in dict(record.headers).get("traceparent", b"").decode()]
        assert mine, topic
        assert {record.key.decode().rpartition("/")[2] for record in mine} == {instance}
    for name in SERVICES:
        assert trace in (stack.home / "logs" / f"{name}.log").read_text(), name


def test_a_collection_that_nobody_asked_for_has_a_trace_too(stack: Stack, client: httpx.Client) -> None:
    """The first one of every instance was asked for by the scheduler."""
    found = stack.status
    broker = Broker(found["kafka_bootstrap"], found["topic_prefix"])
    completions = asyncio.run(broker.records("config-snapshots"))
    assert all("traceparent" in dict(record.headers) for record in completions)
    assert client.get(f"/v1/instances/{SALESFORCE}").json()["trace_id"]
