"""Schemathesis over the whole OpenAPI document, all its checks on, against the process over a real database."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from plumbline_score_api.app import Database
from plumbline_score_api.keys.repository import KeyRepository
from plumbline_score_api.keys.schemas import ApiKey, Role
from plumbline_score_api.services import Services

from tests.integration.score_api.asking import FILLED, operations
from tests.integration.score_api.examples import fill, fill_peer
from tests.integration.score_api.issuing import IssuerServer, issuer_server
from tests.integration.score_api.stage import Stage
from tests.integration.score_api.test_access import _subscribe as subscribe

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
ENDLESS = [operation.name for operation in operations() if operation.is_endless]
SECRET = "not-yours"
TENANTS = {"claim": "tid", "map": {"c": "contoso", "f": "fabrikam"}}
ALL = [role.value for role in Role]
RUNS = {
    "contoso": ("--phases", "examples,coverage,fuzzing,stateful"),
    "fabrikam": ("--phases", "examples,coverage,fuzzing", "--mode", "positive"),
    "reader": ("--phases", "examples,coverage", "--mode", "positive"),
}
"""A tenant's own caller sends most. The others prove that they see and change nothing with requests that are good."""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def issuer() -> Iterator[IssuerServer]:
    with issuer_server() as running:
        yield running


def _marked(value: Any, tenant: str) -> Any:
    """A document that says whose it is."""
    match value:
        case dict():
            return {name: _marked(each, tenant) for name, each in value.items()}
        case list():
            return [_marked(each, tenant) for each in value]
        case str():
            return value.replace("contoso.", f"{SECRET}-{tenant}.")
    return value


async def _fill(database: Database, _: Services) -> None:
    """Contoso and fabrikam each have the instance of the examples; contoso has others, a key and a webhook."""
    now, key_id = datetime.now(UTC), FILLED["key_id"]
    for tenant in TENANTS["map"].values():  # type: ignore[attr-defined]
        await fill(database, tenant)
    for name in ("sales-us", "sales-old"):
        await fill_peer(database, name)
    key = ApiKey(key_id=key_id, secret_hash="", tenant="contoso", name="siem", roles=frozenset(), created_at=now)
    await KeyRepository(database).insert("contoso", key)
    await subscribe(database, now)
    for name in await database.list_collection_names():
        for document in [each async for each in database[name].find({})]:
            if tenant := document.get("tenant"):
                await database[name].replace_one({"_id": document["_id"]}, _marked(document, tenant))


def _documents(stage: Stage, *tenants: str) -> dict[str, list[str]]:
    """All documents but those of some tenants, by collection. When a key was last used is no matter."""

    async def read(database: Database, _: Services) -> dict[str, list[str]]:
        names = await database.list_collection_names()
        query = {"tenant": {"$nin": list(tenants)}}
        return {
            name: sorted([repr(d) async for d in database[name].find(query, {"last_used_at": 0})]) for name in names
        }

    found: dict[str, list[str]] = stage.ask(read)
    return found


def _credentials(stage: Stage, issuer: IssuerServer, who: str) -> str:
    """A token cannot be ended by what it opens, as a key could."""
    if who == "reader":
        reading = frozenset({Role.READ})
        return str(stage.ask(lambda _, services: services.keys.create("contoso", "reader", reading)))
    return issuer.token(roles=ALL, tid=who[0])


@pytest.mark.parametrize("who", RUNS)
def test_whatever_is_sent_the_answer_is_as_documented(
    stage: Stage, issuer: IssuerServer, tmp_path: Path, who: str
) -> None:
    stage.ask(_fill)
    entry = {name: value for name, value in issuer.entry(tenants=TENANTS).items() if name != "tenant"}
    (tmp_path / "issuers.yaml").write_text(yaml.safe_dump({"issuers": [entry]}))
    no_limits = {"requests_per_minute": 0, "failed_logins_per_minute": 0}
    running, client = stage.serve(issuers=tmp_path / "issuers.yaml", **no_limits)
    credentials = _credentials(stage, issuer, who)
    changing = {"contoso": ["contoso"], "fabrikam": ["fabrikam"], "reader": []}[who]
    before = _documents(stage, *changing)

    other = "contoso" if who == "fabrikam" else "fabrikam"
    report = _fuzz(tmp_path, str(client.base_url), credentials, f"{SECRET}-{other}", *RUNS[who])

    assert _documents(stage, *changing) == before
    assert report["operations"]["tested"] == len(operations()) - len(ENDLESS)
    assert report["test_cases"]["generated"] > 5 * len(operations())
    if who == "contoso":
        phases = {name: rates.values() for name, rates in report["valid_rates"].items()}
        assert [name for name, rates in phases.items() if not any(rate["accepted"] for rate in rates)] == []
    assert running.lines("request failed") == []


def test_the_checks_would_see_another_tenants_data(stage: Stage, tmp_path: Path) -> None:
    stage.ask(_fill)
    _, client = stage.serve()
    credentials = client.headers["authorization"].removeprefix("Bearer ")
    told = _run(
        tmp_path, str(client.base_url), credentials, f"{SECRET}-contoso", "--phases", "coverage",
        "--include-operation-id", "getInstance",
    )  # fmt: skip
    assert told.returncode == 1
    assert "another tenant's data" in told.stdout


def _fuzz(folder: Path, url: str, credentials: str, secret: str, *options: str) -> dict[str, Any]:
    """What it did; fails with what it says when something was not as documented."""
    report = folder / "report.json"
    done = _run(folder, url, credentials, secret, *options, "--report-json-path", str(report))
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def _run(folder: Path, url: str, credentials: str, secret: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(HERE / "schemathesis.toml"), "run",
        f"{url.rstrip('/')}/openapi.json", "--header", f"Authorization: Bearer {credentials}", "--no-color", *options,
        *(option for name in ENDLESS for option in ("--exclude-operation-id", name)),
    ]  # fmt: skip
    environment = {**os.environ, "PLUMBLINE_TEST_SECRET": secret, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
