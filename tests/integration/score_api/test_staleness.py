"""What time does to an instance of which nothing newer comes: in the views, the history and the change log."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from plumbline_contracts.events import Outcome, UnknownReason
from plumbline_score_api.app import Database
from plumbline_score_api.changes.repository import ChangeLogRepository
from plumbline_score_api.pictures.aging import Turned
from plumbline_score_api.projection.upkeep import Upkeep

from tests.integration.score_api.events import START, Judged, definition, result, status
from tests.integration.score_api.in_process import CONTROLS, upkeep_of

Take = Callable[..., Awaitable[None]]
DAY = timedelta(days=1)
FIRST = START + timedelta(minutes=1)
LATER = FIRST + DAY
MIXED = (result("C-1", Outcome.FAIL), result("C-2", Outcome.PARTIAL), result("C-3"))
LOST = result("C-3", Outcome.UNKNOWN, reason=UnknownReason.COLLECTION_ERROR)


def _everything(_: str) -> bool:
    return True


@pytest.fixture
async def upkeep(database: Database) -> Upkeep:
    """A projector for which an instance is stale after a day, as it is by default."""
    upkeep = upkeep_of(database, stale_after=DAY)
    await upkeep.projection.take_definitions([definition(control) for control in CONTROLS])
    await upkeep.projection.take_status(status())
    return upkeep


@pytest.fixture
async def take(upkeep: Upkeep) -> Take:
    """Projects evaluations."""

    async def project(*evaluations: Judged) -> None:
        for judged in evaluations:
            for part in judged.parts():
                await upkeep.projection.take_part(part)

    return project


async def _get(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    return (await client.get(path, params=params)).raise_for_status().json()


async def _log(database: Database) -> list[tuple[str, str | None]]:
    found = await ChangeLogRepository(database).since("contoso", 0, 0, 1000)
    return [(change.kind, change.instance) for _, change in found]


async def test_an_instance_is_stale_when_nothing_came_for_a_day(
    client: httpx.AsyncClient, upkeep: Upkeep, take: Take
) -> None:
    await take(Judged(1, MIXED))
    await upkeep.round(_everything, LATER - timedelta(seconds=1))
    fresh = await _get(client, "/v1/instances/sales-eu")
    assert (fresh["is_stale"], fresh["stale_since"], fresh["stale"], fresh["coverage"]) == (False, None, 0, 100)
    await upkeep.round(_everything, LATER)
    stale = await _get(client, "/v1/instances/sales-eu")
    assert (stale["is_stale"], datetime.fromisoformat(stale["stale_since"]), stale["stale"]) == (True, LATER, 3)
    assert (stale["current"], stale["max"], stale["coverage"]) == (4.5, 9, 0)
    for path in ("/v1/secure-score", "/v1/products/salesforce", "/v1/instances/sales-eu/score"):
        view = await _get(client, path)
        assert (view["coverage"], view["counts"]["stale"]) == (0, 3), path
        assert datetime.fromisoformat(view["stale_since"]) == LATER, path
        assert view["counts"]["outcomes"] == {"FAIL": 1, "PARTIAL": 1, "PASS": 1}, path
    page = await _get(client, "/v1/recommendations", stale="true", counts="true")
    assert (page["total"], page["counts"]["stale"]) == (3, {"true": 3})
    assert all(item["is_stale"] for item in page["items"])


async def test_the_newest_snapshot_counts_and_not_when_it_was_judged(
    client: httpx.AsyncClient, upkeep: Upkeep, take: Take
) -> None:
    await take(Judged(1, MIXED))
    await upkeep.round(_everything, LATER)
    await take(Judged(1, MIXED, generation=2, catalogue="c2"))
    await upkeep.round(_everything, LATER)
    assert (await _get(client, "/v1/instances/sales-eu"))["is_stale"] is True


async def test_a_newer_evaluation_ends_it_at_once(
    client: httpx.AsyncClient, upkeep: Upkeep, take: Take, database: Database
) -> None:
    await take(Judged(1, MIXED))
    await upkeep.round(_everything, LATER + timedelta(minutes=30))
    await take(Judged(2, MIXED, hours=25))
    found = await _get(client, "/v1/instances/sales-eu")
    assert (found["is_stale"], found["stale_since"], found["coverage"]) == (False, None, 100)
    for scope in ({}, {"product": "salesforce"}, {"instance": "sales-eu"}):
        points = await _get(client, "/v1/history", resolution="change", since=START.isoformat(), **scope)
        told = [(point["coverage"], point["stale"], point["points"]) for point in points["items"]]
        assert datetime.fromisoformat(points["items"][1]["at"]) == LATER, "when it happened, not when it was noticed"
        assert told == [(100, 0, 4.5), (0, 3, 0), (100, 0, 0)], scope
        assert points["items"][1]["changes"] == []
    log = await _log(database)
    assert [entry for entry in log if entry[0] == "staleness_changed"] == [("staleness_changed", "sales-eu")] * 2
    assert ("finding_changed", "sales-eu") not in log


async def test_what_was_read_late_and_is_old_by_now_is_not_fresh_for_a_moment(
    client: httpx.AsyncClient, upkeep: Upkeep, take: Take, database: Database
) -> None:
    await take(Judged(1, MIXED))
    await upkeep.round(_everything, LATER + DAY)
    for judged in (Judged(2, MIXED), Judged(3, MIXED, hours=23)):
        await take(judged)
        assert (await _get(client, "/v1/instances/sales-eu"))["is_stale"] is True
        await upkeep.round(_everything, LATER + DAY)
    await take(Judged(4, MIXED, hours=25))
    assert (await _get(client, "/v1/instances/sales-eu"))["is_stale"] is False
    assert (await _log(database)).count(("staleness_changed", "sales-eu")) == 2


async def test_time_is_told_once_however_often_and_by_whomever_it_is_looked_at(
    upkeep: Upkeep, take: Take, database: Database
) -> None:
    await take(Judged(1, MIXED))
    replicas = [upkeep_of(database, stale_after=DAY) for _ in range(3)]
    for _ in range(2):
        await asyncio.gather(*(replica.round(_everything, LATER) for replica in replicas))
    await upkeep.round(_everything, LATER + 10 * DAY)
    assert (await _log(database)).count(("staleness_changed", "sales-eu")) == 1
    assert await database["instances"].count_documents({"current.is_settled": False}) == 0


async def test_a_replica_leaves_the_instances_of_others_alone(
    client: httpx.AsyncClient, upkeep: Upkeep, take: Take
) -> None:
    await take(Judged(1, MIXED))
    await upkeep.round(lambda key: key != "contoso/sales-eu", LATER)
    assert (await _get(client, "/v1/instances/sales-eu"))["is_stale"] is False


async def test_what_was_killed_before_it_was_told_is_told_by_the_next_round(
    upkeep: Upkeep, take: Take, database: Database
) -> None:
    await take(Judged(1, MIXED))
    current = await upkeep.projection._repository.current("contoso", "sales-eu")
    assert current is not None
    await upkeep.projection._repository.turn_clock("contoso", "sales-eu", current["key"], Turned(LATER, None), LATER)
    assert ("staleness_changed", "sales-eu") not in await _log(database)
    await upkeep_of(database, stale_after=DAY).round(_everything, LATER)
    assert (await _log(database)).count(("staleness_changed", "sales-eu")) == 1


# --- a result that stands in for an unread one


async def test_what_stands_in_becomes_unknown_after_a_day_though_nothing_comes(
    client: httpx.AsyncClient, database: Database
) -> None:
    patient = upkeep_of(database, stale_after=30 * DAY)
    await patient.projection.take_definitions([definition(control) for control in CONTROLS])
    await patient.projection.take_status(status())
    for judged in (Judged(1, MIXED), Judged(2, (*MIXED[:2], LOST))):
        for part in judged.parts():
            await patient.projection.take_part(part)
    since = START + timedelta(minutes=2)
    for now, expected in (
        (since + DAY, (4.5, "PASS", True)),
        (since + DAY + timedelta(seconds=1), (1.5, "UNKNOWN", False)),
    ):
        await patient.round(_everything, now)
        item = await _get(client, "/v1/recommendations/sales-eu/C-3")
        score = await _get(client, "/v1/secure-score")
        assert (score["current"], item["outcome"], item["is_stale"]) == expected
    assert (item["reason"], score["coverage"]) == ("collection_error", 66.67)
    point = (await _get(client, "/v1/history", resolution="change", since=START.isoformat()))["items"][-1]
    assert [(change["control_id"], change["kind"], change["points"]) for change in point["changes"]] == [
        ("C-3", "lost", -3)
    ]
    assert ("finding_changed", "sales-eu") in await _log(database)
    trend = (await _get(client, "/v1/history/trends", since=START.isoformat()))["items"]
    assert sum(day["lost"] for day in trend) == 3


async def test_people_decide_about_what_time_made_unknown(
    client: httpx.AsyncClient, upkeep: Upkeep, take: Take
) -> None:
    await take(Judged(1, MIXED), Judged(2, (*MIXED[:2], LOST)))
    await upkeep.round(_everything, LATER + DAY)
    answer = await client.put("/v1/recommendations/sales-eu/C-3/status", json={"status": "risk_accepted"})
    assert (answer.json()["outcome"], answer.json()["status"]) == ("UNKNOWN", "risk_accepted")
    await upkeep.round(_everything, datetime.now(UTC))
    view = await _get(client, "/v1/secure-score")
    points = (await _get(client, "/v1/history", resolution="change", since=START.isoformat()))["items"]
    for name in ("current", "max", "coverage", "achievable"):
        assert points[-1][name] == view[name]
