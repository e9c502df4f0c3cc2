"""Microsoft's own client library lists, pages, filters and patches the running API: `make test-graph`."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from plumbline_contracts.events import Insights, Outcome, Product
from plumbline_contracts.kafka import KafkaSettings

from tests.integration.score_api.events import START, Judged, definition, result, status
from tests.integration.score_api.stage import Stage
from tests.polling import until

GUID = "0f1d2c3b-4a59-4687-9786-a5b4c3d2e1f0"
PYTHON = os.environ.get("PLUMBLINE_TEST_MSGRAPH", "")
"""The Python of an environment that has the library; `make test-graph` makes it."""


@pytest.fixture(scope="module")
def python() -> str:
    """The library's Python."""
    assert PYTHON, "run `make test-graph`, which installs Microsoft's client library and names it"
    return PYTHON


@pytest.fixture
def stage(kafka_settings: KafkaSettings, mongodb_url: str, tmp_path: Path) -> Iterator[Stage]:
    """Topics and a database of this test's own, with roles as processes."""
    stage = Stage(kafka_settings, mongodb_url, tmp_path)
    yield stage
    stage.finish()


def _fill(stage: Stage) -> None:
    """Two instances of Salesforce that count, one of ServiceNow, evaluated three days ago."""
    stage.send(
        "control-catalogue",
        definition("C-1", frameworks={"soc2": ["CC6.1", "CC6.3"]}, threats=["spoofing"]),
        definition("C-2", aliases=[]),
        definition("N-1", aliases=[], product=Product.SERVICENOW, category="Apps"),
    )
    stage.send(
        "instance-status",
        status("sales-eu"),
        status("sales-us", insights=Insights.ON),
        status("it", product=Product.SERVICENOW),
    )
    stage.judge(
        Judged(1, [result("C-1", Outcome.FAIL), result("C-2", Outcome.PARTIAL)]),
        Judged(1, [result("C-1"), result("C-2", Outcome.NOT_APPLICABLE)], instance="sales-us"),
        Judged(1, [result("N-1")], instance="it", product=Product.SERVICENOW),
    )


@pytest.fixture
def seen(stage: Stage, python: str) -> dict[str, Any]:
    """What the library saw of the running API."""
    _fill(stage)
    stage.project()
    until(lambda: stage.score() == 7.5, within_seconds=60, what="everything is projected")
    until(lambda: stage.count("history_days", {"scope": "tenant"}) > 0, within_seconds=60, what="it is in the history")
    _, client = stage.serve(azure_tenants=json.dumps({"contoso": GUID}))
    key = client.headers["authorization"].removeprefix("Bearer ")
    script = Path(__file__).with_name("client.py")
    done = subprocess.run(
        [python, str(script), f"{str(client.base_url).rstrip('/')}/graph/v1.0", key],
        env={**os.environ, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_library_of_microsoft(seen: dict[str, Any]) -> None:
    _scores(seen["scores"])
    _profiles(seen["profiles"])
    _errors(seen["errors"])
    _decided(seen["decided"])


def _scores(seen: dict[str, Any]) -> None:
    today = datetime.now(UTC).date()
    assert (seen["id"], seen["tenant"], seen["created"]) == (f"{GUID}_{today}", GUID, f"{today}T00:00:00+00:00")
    assert (seen["current"], seen["max"]) == (7.5, 12.0)
    assert (seen["services"], seen["vendor"]) == (["HasSalesforce", "HasServiceNow"], "Plumbline")
    category, score, description, more = seen["controls"]["MDA_C-1"]
    assert (category, score, description) == ("Identity", 3.0, "What is judged.")
    assert more == {
        "implementationStatus": "sales-eu: C-1 is FAIL\nsales-us: C-1 is PASS",
        "lastSynced": Judged(1).started_at.isoformat(),
        "on": "false",
        "scoreInPercentage": 50.0,
    }
    assert list(seen["controls"]) == ["C-2", "MDA_C-1", "N-1"]
    days = (today - START.date()).days + 1
    assert len(seen["all"]) == days
    assert seen["all"] == seen["whole"] == sorted(seen["all"], reverse=True)
    assert seen["one"] == [seen["id"], 7.5, 3]
    assert seen["since"] == [seen["id"]]
    assert seen["counted"] == seen["count"] == days


def _profiles(seen: dict[str, Any]) -> None:
    assert seen["all"] == ["C-2", "MDA_C-1", "N-1"]
    assert seen["count"] == 3
    assert seen["services"] == {"C-2": "MDA_SF", "MDA_C-1": "MDA_SF", "N-1": "MDA_SNOW"}
    assert seen["salesforce"] == ["C-2", "MDA_C-1"]
    assert seen["threatened"] == ["MDA_C-1"]
    assert seen["selected"] == [["MDA_C-1", 6.0, None], ["C-2", 3.0, None], ["N-1", 3.0, None]]
    profile = seen["profile"]
    assert (profile["max"], profile["rank"], profile["deprecated"]) == (6.0, 1, False)
    assert profile["frameworks"] == [["SOC 2 Trust Services Criteria", ["CC6.1", "CC6.3"]]]
    assert profile["states"] == ["Default"]
    assert profile["remediation"] == "<ol><li>Open Setup.</li><li>Change it.</li></ol>"
    assert datetime.fromisoformat(profile["modified"]).tzinfo is not None


def _errors(seen: dict[str, Any]) -> None:
    found = {name: error[:2] for name, error in seen.items()}
    assert found == {
        "filter": [400, "BadRequest"],
        "gone": [404, "ResourceNotFound"],
        "state": [400, "BadRequest"],
        "method": [405, "MethodNotAllowed"],
        "key": [401, "InvalidAuthenticationToken"],
    }
    assert "Could not find a property named 'nothing'" in seen["filter"][2]
    assert all(error[3] for error in seen.values())


def _decided(seen: dict[str, Any]) -> None:
    assert seen["silent"] is True
    assert seen["after"][:4] == ["Ignored", "Until the new portal.", "ben", "tests"]
    assert seen["told"] == ["ThirdParty", "Until the new portal.", "ben"]
    assert seen["last"] == ["Reviewed", "Until the new portal."]
    assert seen["current"] == 10.5
