"""Connectors against the simulated products, faults included."""

import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection
from plumbline_collector.connectors import open_connector
from plumbline_collector.connectors.ports import CollectionReport
from plumbline_collector.errors import BudgetExhaustedError, CollectorError, CredentialsError
from plumbline_contracts.datasets import datasets
from plumbline_contracts.events import ApiBudget, DatasetState, Product
from plumbline_evaluator.catalogue.loading import load
from plumbline_evaluator.catalogue.location import default_folder
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.servicenow.instance import Instance

from tests.integration.collector.sink import Rows
from tests.integration.parts import BIN, Simulated, simulated, write_connections

NOW = datetime.now(UTC)


@pytest.fixture
def salesforce() -> Iterator[Simulated]:
    with simulated(Org(users=5200)) as running:
        yield running


@pytest.fixture
def servicenow() -> Iterator[Simulated]:
    with simulated(Instance(users=2500)) as running:
        yield running


async def _collect(
    org: Simulated, secret: Path, budget: CallBudget | None = None, **changes: Any
) -> tuple[CollectionReport, Rows]:
    connection = Connection.model_validate(org.connection("org", secret, **changes))
    rows = Rows()
    async with open_connector(connection, budget or CallBudget(1.0)) as connector:
        return await connector.collect(rows, NOW), rows


def _states(report: CollectionReport) -> dict[str, DatasetState]:
    return {summary.name: summary.state for summary in report.datasets}


@pytest.mark.parametrize("product", list(Product))
async def test_everything_is_read_page_by_page(
    product: Product, salesforce: Simulated, servicenow: Simulated, secret: Path
) -> None:
    org = salesforce if product is Product.SALESFORCE else servicenow
    report, rows = await _collect(org, secret)
    assert set(_states(report).values()) == {DatasetState.OK}
    assert set(_states(report)) == set(datasets(product))
    assert len(rows.found["users"]) == org.org.user_count
    assert rows.largest <= 2000
    for name, schema in datasets(product).items():
        for row in rows.found.get(name, []):
            assert schema.violations(row) == []
    entity = datasets(product)["users"].entity
    assert entity is not None
    identities = [row[entity.id] for row in rows.found["users"]]
    assert len(set(identities)) == len(identities)


async def test_mfa_methods_beyond_the_silent_cap_are_all_read(salesforce: Simulated, secret: Path) -> None:
    salesforce.org.seed = "strong"
    _, rows = await _collect(salesforce, secret)
    with_method = [row for row in rows.found["users"] if row["has_mfa_method"]]
    assert len(with_method) == salesforce.org.user_count - 1


async def test_only_get_and_the_token_request_are_sent(
    salesforce: Simulated, servicenow: Simulated, secret: Path
) -> None:
    for org in (salesforce, servicenow):
        await _collect(org, secret)
        verbs = {kind.split()[0] for kind in org.requests}
        assert verbs == {"GET", "POST"}
        assert [kind for kind in org.requests if kind.startswith("POST")] == ["POST token"]
        assert org.requests["POST token"] == 1


async def test_calls_grow_with_pages_and_not_with_users(
    salesforce: Simulated, servicenow: Simulated, secret: Path
) -> None:
    for org, rows_per_call, fixed in ((salesforce, 2000, 80), (servicenow, 1000, 90)):
        budget = CallBudget(1.0)
        await _collect(org, secret, budget)
        assert budget.state().used_by_us <= org.org.user_count / rows_per_call + fixed


PASSING = ("429", "429_bare", "503_html", "503_json", "expired_token", "drop")


@pytest.mark.parametrize(
    ("name", "kind"), [*itertools.product(("salesforce", "servicenow"), PASSING), ("servicenow", "broken_json")]
)
async def test_passing_faults_are_survived(
    name: str, kind: str, salesforce: Simulated, servicenow: Simulated, secret: Path
) -> None:
    org = salesforce if name == "salesforce" else servicenow
    matches = {"salesforce": "FROM+User", "servicenow": "table/sys_user?"}
    org.fail({"kind": kind, "match": matches[name] if kind != "expired_token" else "/", "times": 1})
    report, rows = await _collect(org, secret)
    assert set(_states(report).values()) == {DatasetState.OK}
    assert len(rows.found["users"]) == org.org.user_count


@pytest.mark.parametrize(
    ("kind", "code"),
    [("broken_json", "broken_json"), ("foreign_next", "foreign_link"),
     ("done_without_next", "broken_paging"), ("503_html", "http_503"), ("huge_body", "too_large")],
)  # fmt: skip
async def test_a_lasting_fault_costs_one_salesforce_dataset(
    kind: str, code: str, salesforce: Simulated, secret: Path
) -> None:
    salesforce.fail({"kind": kind, "match": "FROM+RemoteProxy"})
    report, _ = await _collect(salesforce, secret)
    states = _states(report)
    assert states.pop("remote_sites") is DatasetState.ERROR
    assert set(states.values()) == {DatasetState.OK}
    failed = next(summary for summary in report.datasets if summary.name == "remote_sites")
    assert failed.error is not None
    assert failed.error.code == code


async def test_short_pages_are_paged_to_their_end_and_count_as_truncated(servicenow: Simulated, secret: Path) -> None:
    servicenow.fail({"kind": "short_pages", "match": "table/sys_user?"})
    report, rows = await _collect(servicenow, secret)
    users = next(summary for summary in report.datasets if summary.name == "users")
    assert users.state is DatasetState.TRUNCATED
    assert users.reported_count == 2500
    assert 2000 < len(rows.found["users"]) < 2500


async def test_a_cancelled_transaction_halves_the_page(servicenow: Simulated, secret: Path) -> None:
    servicenow.fail({"kind": "truncated_result", "match": "sysparm_limit=1000", "times": -1})
    report, rows = await _collect(servicenow, secret)
    assert _states(report)["users"] is DatasetState.OK
    assert len(rows.found["users"]) == 2500


@pytest.mark.parametrize("kind", ["hibernation", "login_page", "redirect"])
async def test_an_instance_that_does_not_answer_as_itself_fails_as_a_whole(
    kind: str, servicenow: Simulated, secret: Path
) -> None:
    servicenow.fail({"kind": kind, "match": "table/"})
    with pytest.raises(CollectorError, match=r"hibernating|login page|redirects"):
        await _collect(servicenow, secret)


async def test_missing_rights_are_states_with_the_permission_to_grant(secret: Path) -> None:
    with simulated(Org(seed="restricted")) as org:
        report, rows = await _collect(org, secret)
    states = _states(report)
    assert states["remote_sites"] is DatasetState.DENIED
    users = next(summary for summary in report.datasets if summary.name == "users")
    assert users.state is DatasetState.OK
    assert {missing.field for missing in users.missing_fields} >= {"has_mfa_method"}
    assert users.missing_fields[0].error.permission == "Manage Multi-Factor Authentication in API"
    assert "has_mfa_method" not in rows.found["users"][0]


async def test_trimmed_and_denied_tables_are_told_apart(secret: Path) -> None:
    with simulated(Instance(seed="restricted")) as org:
        report, _ = await _collect(org, secret)
    states = _states(report)
    assert states["system_properties"] is DatasetState.TRUNCATED
    assert states["script_actions"] is DatasetState.DENIED
    users = next(summary for summary in report.datasets if summary.name == "users")
    assert users.missing_fields[0].error.remedy is not None
    assert "user_multifactor_auth" in users.missing_fields[0].error.remedy


@pytest.mark.parametrize("product", ["salesforce", "servicenow"])
async def test_wrong_credentials_say_what_to_check(
    product: str, salesforce: Simulated, servicenow: Simulated, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("hunter2")
    with pytest.raises(CredentialsError, match="secret") as caught:
        await _collect(salesforce if product == "salesforce" else servicenow, wrong)
    assert "hunter2" not in str(caught.value)


async def test_basic_authentication_works(servicenow: Simulated, secret: Path) -> None:
    auth = {"method": "basic", "username": "integration@example.com", "password": {"file": str(secret)}}
    report, _ = await _collect(servicenow, secret, auth=auth)
    assert set(_states(report).values()) == {DatasetState.OK}
    assert "POST token" not in servicenow.requests


async def test_private_addresses_are_refused_unless_allowed(salesforce: Simulated, secret: Path) -> None:
    with pytest.raises(CollectorError, match="allow_private_network"):
        await _collect(salesforce, secret, allow_private_network=False)
    assert salesforce.requests == {}


async def test_a_wrong_address_is_named(secret: Path) -> None:
    with simulated(Org()) as org:
        pass
    with pytest.raises(CollectorError, match="token request failed"):
        await _collect(org, secret)


async def test_the_budget_stops_before_the_share_is_overdrawn(salesforce: Simulated, secret: Path) -> None:
    today = datetime.now(UTC).date().isoformat()
    budget = CallBudget(0.1, ApiBudget(used_by_us=9, daily_limit=100, share=0.1, day=today))
    with pytest.raises(BudgetExhaustedError, match="api_share"):
        await _collect(salesforce, secret, budget)
    assert sum(salesforce.requests.values()) == 1


async def test_a_change_moves_the_marker(salesforce: Simulated, servicenow: Simulated, secret: Path) -> None:
    for org, setting in ((salesforce, "requireHttpOnly"), (servicenow, "glide.soap.strict_security")):
        connection = Connection.model_validate(org.connection("org", secret))
        async with open_connector(connection, CallBudget(1.0)) as connector:
            first = await connector.latest_change()
            assert await connector.latest_change() == first
            org.set(setting, "true")
            assert await connector.latest_change() != first


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "240"}
    command = [str(BIN / "collector"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_check_prints_what_is_missing_and_what_it_costs(tmp_path: Path, secret: Path) -> None:
    with simulated(Org(seed="restricted")) as org:
        file = write_connections(tmp_path / "c.yaml", org.connection("org", secret))
        done = _run("check", "--connections", str(file))
    assert done.returncode == 1
    assert "Manage Multi-Factor Authentication in API" in done.stdout
    assert "remote_sites" in done.stdout
    assert "simulated-orgs-only" not in done.stdout + done.stderr


def test_snapshot_and_evaluate_work_offline(tmp_path: Path, secret: Path) -> None:
    out, results = tmp_path / "snapshot.ndjson", tmp_path / "results.ndjson"
    with simulated(Instance(users=300)) as org:
        file = write_connections(tmp_path / "c.yaml", org.connection("org", secret))
        done = _run("snapshot", "--connections", str(file), "--instance", "contoso/org", "--out", str(out))
        assert done.returncode == 0, done.stderr
        unknown = _run("snapshot", "--connections", str(file), "--instance", "nobody", "--out", str(out))
    assert unknown.returncode == 2
    assert "it has contoso/org" in unknown.stderr
    assert out.stat().st_mode & 0o777 == 0o600
    command = [str(BIN / "evaluator"), "evaluate", "--snapshot", str(out), "--out", str(results)]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stderr
    assert "Secure Score" in judged.stdout
    outcomes = [json.loads(line)["outcome"] for line in results.read_text().splitlines()]
    assert len(outcomes) == len(load(default_folder()).plans[Product.SERVICENOW].controls)
    assert outcomes.count("UNKNOWN") < len(outcomes) / 5
    assert {"PASS", "PARTIAL", "FAIL"} <= set(outcomes)


def test_a_snapshot_is_written_when_every_dataset_failed(tmp_path: Path, secret: Path) -> None:
    out = tmp_path / "snapshot.ndjson"
    with simulated(Org()) as org:
        org.fail({"kind": "request_limit", "match": "/query"})
        file = write_connections(tmp_path / "c.yaml", org.connection("org", secret))
        done = _run("snapshot", "--connections", str(file), "--instance", "org", "--out", str(out))
    assert done.returncode == 3, done.stderr
    assert done.stdout.count("error") >= 7
    assert out.is_file()
