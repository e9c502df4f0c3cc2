"""The ServiceNow connector against a simulated instance: what it calls is what the plan foretells."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection
from plumbline_collector.connectors.servicenow.client import ServiceNowClient
from plumbline_collector.connectors.servicenow.connector import ServiceNowConnector
from plumbline_collector.connectors.servicenow.plan import (
    CALLS_OF_FIRST_LOOK,
    CALLS_PER_LOOK,
    READS,
    SCHEMAS,
    calls_by_dataset,
)
from plumbline_collector.errors import CredentialsError
from plumbline_contracts.events import DatasetState
from plumbline_simulators.servicenow.instance import Instance

from tests.integration.collector.sink import Rows
from tests.integration.parts import simulated


async def _counts(client: ServiceNowClient) -> dict[str, int]:
    """How many rows each selection of the plan finds; what is looked up by other rows finds some, on one page."""
    selections = [read.selection for reads in READS.values() for read in reads]
    selections = [each for each in selections if not re.search(r"IN([,^]|$)", each.query)]
    return {each.key: (await client.page(each.table, each.query, "sys_id", 1, 0))[1] or 0 for each in selections}


@pytest.mark.parametrize(("seed", "users"), [("weak", 60), ("strong", 2500)])
async def test_the_plan_foretells_every_call_of_every_dataset(seed: str, users: int, secret: Path) -> None:
    with simulated(Instance(seed=seed, users=users)) as org:
        client = ServiceNowClient(Connection.model_validate(org.connection("it", secret)), CallBudget(1.0))
        rows = Rows()
        report = await ServiceNowConnector(client).collect(rows, datetime.now(UTC))
        counts = await _counts(client)
        await client.close()
    foretold = calls_by_dataset(counts)
    assert {summary.name: summary.calls for summary in report.datasets} == foretold
    assert {summary.state for summary in report.datasets} == {DatasetState.OK}
    assert sum(foretold.values()) <= sum(counts.values()) / 1000 + 70
    for name, found in rows.found.items():
        assert [problem for row in found for problem in SCHEMAS[name].violations(row)] == []


async def test_a_look_takes_as_many_calls_as_the_plan_says(secret: Path) -> None:
    with simulated(Instance()) as org:
        client = ServiceNowClient(Connection.model_validate(org.connection("it", secret)), CallBudget(1.0))
        connector = ServiceNowConnector(client)
        await client.authenticate()
        before = client.usage.calls
        markers = {(await connector.latest_change()).marker for _ in range(3)}
        assert client.usage.calls - before == CALLS_OF_FIRST_LOOK + 2 * CALLS_PER_LOOK
        assert len(markers) == 1
        await client.close()


@pytest.mark.parametrize(
    ("method", "credentials"),
    [("basic", {"username": "integration@example.com"}), ("password", {"username": "integration@example.com"})],
)
async def test_a_wrong_password_says_which_setting_may_be_the_cause(
    method: str, credentials: dict[str, str], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("hunter2")
    secret = {"file": str(wrong)}
    auth = {"method": method, **credentials, "password": secret}
    if method == "password":
        auth |= {"client_id": "plumbline", "client_secret": secret}
    with simulated(Instance()) as org:
        connection = Connection.model_validate({**org.connection("it", wrong), "auth": auth})
        client = ServiceNowClient(connection, CallBudget(1.0))
        with pytest.raises(CredentialsError, match=r"Basic Authentication Restriction|ropc") as caught:
            await ServiceNowConnector(client).collect(Rows(), datetime.now(UTC))
        await client.close()
    assert "hunter2" not in str(caught.value)
