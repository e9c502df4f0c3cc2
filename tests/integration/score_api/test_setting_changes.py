"""Who changed what, as products say it, with the recommendation that it belongs to."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from plumbline_contracts.events import AuditEntry, ControlResult, DatasetState, Evidence, Outcome
from plumbline_score_api.app import Database
from plumbline_score_api.projection.upkeep import Upkeep

from tests.integration.score_api.events import START, Judged, result, status

EVIDENCE = Evidence(
    dataset="password_policies",
    source="SecuritySettings",
    state=DatasetState.OK,
    observed={"minimum_password_length": 5},
)


def _entry(minutes: float, subject: str | None = "minimumPasswordLength", **more: Any) -> AuditEntry:
    at = START + timedelta(minutes=minutes)
    return AuditEntry(at=at, actor="ann", action="changed", subject=subject, section="Security Controls", **more)


def _result(outcome: Outcome) -> ControlResult:
    return result("C-1", outcome).model_copy(update={"evidence": [EVIDENCE]})


async def _take(upkeep: Upkeep, *evaluations: Judged) -> None:
    for judged in evaluations:
        for part in judged.parts():
            await upkeep.projection.take_part(part)


async def _detail(client: httpx.AsyncClient) -> Any:
    return (await client.get("/v1/recommendations/sales-eu/C-1")).raise_for_status().json()


@pytest.fixture
async def served(upkeep: Upkeep) -> None:
    """C-1 passed with snapshots 1 and 2 and fails since snapshot 4; the entries of each snapshot overlap."""
    await upkeep.projection.take_status(status())
    early = _entry(0.5, old_value="4", new_value="8")
    decisive = _entry(3, old_value="8", new_value="5")
    beside = _entry(3.5, None, detail="Activated a user")
    await _take(
        upkeep,
        Judged(1, [_result(Outcome.PASS)], changes=[early]),
        Judged(2, [_result(Outcome.PASS)], changes=[early]),
        Judged(4, [_result(Outcome.FAIL)], changes=[beside, decisive, early]),
        Judged(5, [_result(Outcome.FAIL)], changes=[beside, decisive]),
        Judged(6, [_result(Outcome.FAIL)]),
    )


async def test_a_recommendation_says_who_changed_the_setting_since_it_passed(
    client: httpx.AsyncClient, served: None
) -> None:
    found = await _detail(client)
    assert datetime.fromisoformat(found["passed_at"]) == START + timedelta(minutes=2)
    assert found["setting_changes_since"] == found["passed_at"]
    told = [(each["match"], each["actor"], each["old_value"], each["new_value"]) for each in found["setting_changes"]]
    assert told == [("setting", "ann", "8", "5"), ("instance", "ann", None, None)]
    assert datetime.fromisoformat(found["setting_changes"][0]["at"]) == START + timedelta(minutes=3)


async def test_of_what_passes_all_changes_are_told_that_name_the_setting(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep
) -> None:
    await _take(upkeep, Judged(8, [_result(Outcome.PASS)], changes=[_entry(7, old_value="5", new_value="12")]))
    found = await _detail(client)
    assert found["setting_changes_since"] is None
    assert [each["new_value"] for each in found["setting_changes"]] == ["12", "5", "8"]


async def test_an_entry_is_kept_once(served: None, upkeep: Upkeep, database: Database) -> None:
    assert await database["setting_changes"].count_documents({}) == 3
    await _take(upkeep, Judged(9, [_result(Outcome.FAIL)], changes=[_entry(0.5, old_value="4", new_value="8")]))
    assert await database["setting_changes"].count_documents({}) == 3


async def test_entries_end_with_the_points_of_the_history(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, database: Database
) -> None:
    await upkeep.prune(datetime.now(UTC))
    assert await database["setting_changes"].count_documents({}) == 3
    await upkeep.prune(START + timedelta(days=730, minutes=3))
    assert await database["setting_changes"].count_documents({}) == 2
    assert len((await _detail(client))["setting_changes"]) == 2


async def test_the_same_control_on_other_instances(client: httpx.AsyncClient, served: None, upkeep: Upkeep) -> None:
    await upkeep.projection.take_status(status("sales-us"))
    await _take(upkeep, Judged(3, [result("C-1", Outcome.FAIL)], instance="sales-us"))
    decided = {"status": "resolved_third_party"}
    (await client.put("/v1/recommendations/sales-us/C-1/status", json=decided)).raise_for_status()
    (other,) = (await _detail(client))["other_instances"]
    assert (other["instance"], other["outcome"], other["status"]) == ("sales-us", "FAIL", "resolved_third_party")
    assert (other["points"], other["points_achieved"], other["is_stale"]) == (0, 3, False)
    there = (await client.get("/v1/recommendations/sales-us/C-1")).raise_for_status().json()
    assert there["setting_changes"] == []
