"""What changed, when, by how many points; days; comparisons; the change log; retention."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from plumbline_contracts.events import Outcome, UnknownReason
from plumbline_score_api.app import Database
from plumbline_score_api.changes.repository import ChangeLogRepository
from plumbline_score_api.problems import MEDIA_TYPE
from plumbline_score_api.projection.upkeep import Retention, Upkeep

from tests.integration.score_api.events import START, Judged, definition, result, status
from tests.integration.score_api.in_process import upkeep_of

Take = Callable[..., Awaitable[None]]
SINCE = (START - timedelta(days=10)).isoformat()
CHANGES = {"resolution": "change", "since": SINCE}


def _everything(_: str) -> bool:
    return True


@pytest.fixture
async def take(upkeep: Upkeep) -> Take:
    """Projects evaluations."""

    async def project(*evaluations: Judged) -> None:
        for judged in evaluations:
            for part in judged.parts():
                await upkeep.projection.take_part(part)

    return project


@pytest.fixture
async def served(upkeep: Upkeep, take: Take) -> None:
    """sales-eu is main and has 4.5 of 9 points, sales-us is off and has 9 of 9."""
    for name in ("sales-eu", "sales-us"):
        await upkeep.projection.take_status(status(name))
    await upkeep.round(_everything, datetime.now(UTC))
    await take(
        Judged(1, [result("C-1", Outcome.FAIL), result("C-2", Outcome.PARTIAL), result("C-3")]),
        Judged(2, [result("C-1"), result("C-2"), result("C-3")], instance="sales-us"),
    )


async def _get(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    return (await client.get(path, params=params)).raise_for_status().json()


async def _points(client: httpx.AsyncClient, **scope: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await _get(client, "/v1/history", **CHANGES, **scope))["items"]
    return found


async def _put(client: httpx.AsyncClient, path: str, **body: Any) -> None:
    (await client.put(path, json=body)).raise_for_status()


def _told(point: dict[str, Any]) -> set[tuple[str, str, float]]:
    return {(change["control_id"], change["kind"], change["points"]) for change in point["changes"]}


async def test_a_point_says_what_changed_and_by_how_much(client: httpx.AsyncClient, served: None, take: Take) -> None:
    await take(Judged(3, [result("C-1"), result("C-2", Outcome.FAIL), result("C-3")]))
    for scope in ({}, {"product": "salesforce"}, {"instance": "sales-eu"}):
        first, second = await _points(client, **scope)
        assert (first["current"], first["max"], first["points"], first["max_points"]) == (4.5, 9, 4.5, 9)
        assert {change["kind"] for change in first["changes"]} == {"added"}
        assert (second["current"], second["percentage"], second["points"]) == (6, 66.67, 1.5)
        assert _told(second) == {("C-1", "gained", 3), ("C-2", "lost", -1.5)}
        assert sum(change["points"] for change in second["changes"]) == second["points"]
        assert second["outcomes"] == {"FAIL": 1, "PASS": 2}
    assert [point["current"] for point in await _points(client, instance="sales-us")] == [9]


async def test_an_evaluation_that_changes_nothing_leaves_no_point(
    client: httpx.AsyncClient, served: None, take: Take
) -> None:
    await take(Judged(5, [result("C-1", Outcome.FAIL), result("C-2", Outcome.PARTIAL), result("C-3")]))
    assert len(await _points(client)) == 1


async def test_controls_come_and_go(client: httpx.AsyncClient, served: None, upkeep: Upkeep, take: Take) -> None:
    await upkeep.projection.take_definitions([definition("C-4")])
    await take(Judged(3, [result("C-2", Outcome.PARTIAL), result("C-3"), result("C-4", Outcome.FAIL)]))
    point = (await _points(client))[-1]
    assert _told(point) == {("C-1", "retired", 0), ("C-4", "added", 0)}
    assert (point["points"], point["max_points"]) == (0, 0)


async def test_a_decision_is_a_point_with_its_author(client: httpx.AsyncClient, served: None, upkeep: Upkeep) -> None:
    await _put(client, "/v1/recommendations/sales-eu/C-1/status", status="resolved_third_party", note="Gateway.")
    await upkeep.round(_everything, datetime.now(UTC))
    point = (await _points(client))[-1]
    (change,) = point["changes"]
    assert (change["kind"], change["points"], change["by"], change["note"]) == ("status", 3, "tests", "Gateway.")
    assert (change["before"]["status"], change["after"]["status"]) == ("to_address", "resolved_third_party")
    assert (point["current"], point["statuses"]) == (
        7.5, {"completed": 1, "resolved_third_party": 1, "to_address": 1},
    )  # fmt: skip
    await client.delete("/v1/recommendations/sales-eu/C-1/status")
    await upkeep.round(_everything, datetime.now(UTC))
    assert (await _points(client))[-1]["points"] == -3


async def test_a_decision_is_of_its_own_moment_and_not_of_the_evaluation_before(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, take: Take
) -> None:
    """Also when that evaluation has changed nothing, so that no point tells of it."""
    await take(Judged(5, [result("C-1", Outcome.FAIL), result("C-2", Outcome.PARTIAL), result("C-3")]))
    began = datetime.now(UTC)
    await _put(client, "/v1/recommendations/sales-eu/C-1/status", status="planned")
    await upkeep.round(_everything, datetime.now(UTC))
    assert began - timedelta(milliseconds=1) <= datetime.fromisoformat((await _points(client))[-1]["at"])


async def test_time_and_evidence_are_points_of_the_system(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, take: Take
) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    await _put(client, "/v1/recommendations/sales-eu/C-1/status", status="risk_accepted", expires_at=until.isoformat())
    await _put(client, "/v1/recommendations/sales-eu/C-2/status", status="resolved_third_party")
    await upkeep.round(_everything, datetime.now(UTC))
    await upkeep.round(_everything, until + timedelta(seconds=1))
    expired = (await _points(client))[-1]
    assert [(change["kind"], change["by"]) for change in expired["changes"]] == [("status", "system")]
    observed = result("C-2", Outcome.PARTIAL).model_copy(update={"observed": "another value"})
    await take(Judged(3, [result("C-1", Outcome.FAIL), observed, result("C-3")]))
    reopened = (await _points(client))[-1]
    (change,) = reopened["changes"]
    assert (change["control_id"], change["kind"], change["by"], change["points"]) == ("C-2", "status", "system", -1.5)


async def test_insights_are_in_the_history_with_author_and_reason(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep
) -> None:
    await _put(client, "/v1/instances/sales-us/insights", insights="on", note="It went live.")
    await upkeep.round(_everything, datetime.now(UTC))
    for scope in ({}, {"product": "salesforce"}):
        point = (await _points(client, **scope))[-1]
        (change,) = point["insights"]
        assert (change["instance"], change["before"], change["after"]) == ("sales-us", "off", "on")
        assert (change["points"], change["max_points"], change["by"], change["note"]) == (
            9,
            9,
            "tests",
            "It went live.",
        )
        assert (point["current"], point["max"], point["points"]) == (13.5, 18, 9)
    await _put(client, "/v1/instances/sales-us/insights", insights="off")
    await upkeep.round(_everything, datetime.now(UTC))
    assert (await _points(client))[-1]["points"] == -9
    assert len(await _points(client, instance="sales-us")) == 1


async def test_coverage_is_history_too(client: httpx.AsyncClient, served: None, take: Take) -> None:
    lost = result("C-1", Outcome.UNKNOWN, reason=UnknownReason.COLLECTION_ERROR)
    await take(Judged(3, [lost, result("C-2", Outcome.PARTIAL), result("C-3")]))
    point = (await _points(client))[-1]
    assert (point["current"], point["coverage"], point["stale"], point["points"]) == (4.5, 66.67, 1, 0)
    assert _told(point) == {("C-1", "changed", 0)}


async def test_the_history_and_the_live_score_agree(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, take: Take
) -> None:
    """After everything that can happen, in any order."""
    await take(Judged(3, [result("C-1"), result("C-2", Outcome.FAIL, exposed=3)]))
    await _put(client, "/v1/controls/C-2/status-template", status="resolved_alternate_mitigation")
    await _put(client, "/v1/instances/sales-us/insights", insights="main")
    await take(Judged(4, [result("C-1", Outcome.FAIL), result("C-2", Outcome.FAIL, exposed=4)], instance="sales-us"))
    await _put(client, "/v1/recommendations/sales-us/C-1/status", status="planned")
    await upkeep.round(_everything, datetime.now(UTC))
    live: dict[tuple[str, str] | None, Any] = {
        None: await _get(client, "/v1/secure-score"),
        ("product", "salesforce"): await _get(client, "/v1/products/salesforce"),
        ("instance", "sales-eu"): await _get(client, "/v1/instances/sales-eu/score"),
        ("instance", "sales-us"): await _get(client, "/v1/instances/sales-us/score"),
    }
    for scope, score in live.items():
        points = await _points(client, **dict([scope] if scope is not None else []))
        for name in ("current", "max", "percentage", "zone", "coverage", "planned", "achievable"):
            assert points[-1][name] == score[name], (scope, name)
        assert points[-1]["statuses"] == score["counts"]["statuses"]
        assert round(sum(point["points"] for point in points), 3) == score["current"]
        for point in points:
            told = [*point["changes"], *point["insights"]]
            assert round(sum(change["points"] for change in told), 3) == point["points"]
            assert round(sum(change["max_points"] for change in told), 3) == point["max_points"]


# --- days


async def test_a_day_without_change_ended_as_the_one_before(
    client: httpx.AsyncClient, served: None, take: Take
) -> None:
    await take(Judged(0, [result("C-1"), result("C-2"), result("C-3")], hours=48))
    page = await _get(client, "/v1/history")
    first, today = START.date(), datetime.now(UTC).date()
    assert [item["day"] for item in page["items"]] == [
        (first + timedelta(days=n)).isoformat() for n in range((today - first).days + 1)
    ]
    current = [item["current"] for item in page["items"]]
    changed = ((START + timedelta(hours=48)).date() - first).days
    assert current == [4.5] * changed + [9] * (len(current) - changed)
    assert all(item["at"] is None and item["changes"] == [] for item in page["items"])


async def test_days_are_paged(client: httpx.AsyncClient, served: None) -> None:
    whole = (await _get(client, "/v1/history", since=SINCE))["items"]
    found, cursor = [], None
    while True:
        page = await _get(client, "/v1/history", since=SINCE, limit=2, **({"cursor": cursor} if cursor else {}))
        found += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == whole
    assert len(whole) >= 3


async def test_changes_are_paged(client: httpx.AsyncClient, served: None, take: Take) -> None:
    for number in range(3, 8):
        await take(Judged(number, [result("C-1", Outcome.FAIL if number % 2 else Outcome.PASS)]))
    whole = await _points(client)
    found, cursor = [], None
    while True:
        page = await _get(client, "/v1/history", **CHANGES, limit=2, **({"cursor": cursor} if cursor else {}))
        found += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == whole
    assert len(whole) == 6


async def test_a_category_has_its_own_history(client: httpx.AsyncClient, upkeep: Upkeep, take: Take) -> None:
    await upkeep.projection.take_definitions([definition("A-1", category="Apps")])
    await take(Judged(1, [result("A-1"), result("C-1", Outcome.FAIL)]), Judged(2, [result("A-1"), result("C-1")]))
    apps, identity = await _points(client, category="Apps"), await _points(client, category="Identity")
    assert [point["current"] for point in apps] == [3, 3]
    assert [point["current"] for point in identity] == [0, 3]
    assert [len(point["changes"]) for point in apps] == [1, 0]
    assert [point["current"] for point in await _points(client)] == [3, 6]


async def test_a_framework_has_its_own_history_that_adds_up(
    client: httpx.AsyncClient, upkeep: Upkeep, take: Take
) -> None:
    """A control comes, is mapped elsewhere, and goes."""
    soc2 = {"soc2": ["CC6.1"]}
    await upkeep.projection.take_definitions([definition("A-1", frameworks=soc2), definition("A-1", digest="d2")])
    await take(
        Judged(1, [result("A-1"), result("C-1", Outcome.FAIL)]),
        Judged(2, [result("A-1", Outcome.PARTIAL), result("C-1")]),
        Judged(3, [result("A-1", Outcome.PARTIAL, digest="d2"), result("C-1")]),
        Judged(4, [result("C-1")]),
    )
    points = await _points(client, framework="soc2")
    assert [(point["current"], point["max"], point["points"]) for point in points] == [
        (3, 3, 3), (1.5, 3, -1.5), (0, 0, -1.5), (0, 0, 0),
    ]  # fmt: skip
    assert [_told(point) for point in points] == [
        {("A-1", "added", 3)}, {("A-1", "lost", -1.5)}, {("A-1", "retired", -1.5)}, set(),
    ]  # fmt: skip
    assert [point["outcomes"] for point in points] == [{"PASS": 1}, {"PARTIAL": 1}, {}, {}]
    whole = await _points(client)
    assert [_told(point) for point in whole[2:]] == [{("A-1", "mapped", 0)}, {("A-1", "retired", -1.5)}]
    assert [point["zone"] for point in points] == ["good", "fair", None, None]


async def test_a_retired_control_is_in_the_history_of_its_category(
    client: httpx.AsyncClient, upkeep: Upkeep, take: Take
) -> None:
    await upkeep.projection.take_definitions([definition("A-1", category="Apps")])
    await take(Judged(1, [result("A-1"), result("C-1")]), Judged(2, [result("C-1")]))
    points = await _points(client, category="Apps")
    assert [(point["points"], _told(point)) for point in points] == [
        (3, {("A-1", "added", 3)}), (-3, {("A-1", "retired", -3)}),
    ]  # fmt: skip


async def test_insights_move_categories_and_frameworks_too(
    client: httpx.AsyncClient, upkeep: Upkeep, take: Take
) -> None:
    await upkeep.projection.take_definitions([definition("A-1", category="Apps", frameworks={"soc2": ["CC6.1"]})])
    for name in ("sales-eu", "sales-us"):
        await upkeep.projection.take_status(status(name))
        await take(Judged(1, [result("A-1"), result("C-1")], instance=name))
    await upkeep.round(_everything, datetime.now(UTC))
    await _put(client, "/v1/instances/sales-us/insights", insights="on")
    await upkeep.round(_everything, datetime.now(UTC))
    for scope in ({"category": "Apps"}, {"framework": "soc2"}, {"category": "Apps", "product": "salesforce"}):
        point = (await _points(client, **scope))[-1]
        (change,) = point["insights"]
        assert (point["current"], point["points"], change["points"], change["max_points"]) == (6, 3, 3, 3)
        found = await _get(client, "/v1/history/compare", since=SINCE, **scope)
        told = [*found["changes"], *found["insights"]]
        assert sum(change["points"] for change in told) == found["points"] == 6


# --- trends


async def _trend(client: httpx.AsyncClient, **params: Any) -> dict[str, dict[str, Any]]:
    page = await _get(client, "/v1/history/trends", since=SINCE, **params)
    return {item["day"]: item for item in page["items"]}


async def test_trends_tell_day_by_day_what_came_and_what_went(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, take: Take
) -> None:
    await take(
        Judged(3, [result("C-1"), result("C-2", Outcome.FAIL), result("C-3")], hours=24),
        Judged(4, [result("C-1", Outcome.FAIL), result("C-2", Outcome.FAIL), result("C-3")], hours=48),
    )
    moments = (Judged(1).started_at, Judged(3, hours=24).started_at, Judged(4, hours=48).started_at)
    days = [moment.date().isoformat() for moment in moments]
    for scope in ({}, {"product": "salesforce"}, {"instance": "sales-eu"}, {"category": "Identity"}):
        found = await _trend(client, **scope)
        told = [
            tuple(found[day][name] for name in ("gained", "lost", "net", "newly_failing", "newly_regressed", "mended"))
            for day in days
        ]
        assert told == [(4.5, 0, 4.5, 0, 0, 0), (3, 1.5, 1.5, 0, 0, 1), (0, 3, -3, 1, 1, 0)], scope
        assert [found[day]["regressed"] for day in days] == [0, 0, 1]
        assert round(sum(day["net"] for day in found.values()), 3) == [*found.values()][-1]["current"] == 3
    assert all(day["net"] == day["max"] == 0 for day in (await _trend(client, category="Apps")).values())


async def test_risks_that_are_accepted_are_a_trend_with_their_ends(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep
) -> None:
    until = datetime.now(UTC) + timedelta(days=10)
    path = "/v1/recommendations/sales-eu/{}/status"
    await _put(client, path.format("C-1"), status="risk_accepted", expires_at=until.isoformat())
    await _put(client, path.format("C-2"), status="risk_accepted")
    await upkeep.round(_everything, datetime.now(UTC))
    trends = await _get(client, "/v1/history/trends", since=SINCE)
    before, today = trends["items"][-2:]
    assert (before["risk_accepted"], before["risk_accepted_points"], before["newly_accepted"]) == (0, 0, 0)
    assert (today["risk_accepted"], today["risk_accepted_points"], today["newly_accepted"]) == (2, 6, 2)
    assert (today["lost"], today["net"]) == (1.5, -1.5)
    assert trends["expiring"] == [{"day": until.date().isoformat(), "count": 1, "points": 3}]
    assert trends["without_expiry"] == 1
    other = await _get(client, "/v1/history/trends", since=SINCE, instance="sales-us")
    assert (other["expiring"], other["without_expiry"]) == ([], 0)
    await upkeep.round(_everything, until)
    await client.delete(path.format("C-2"))
    await upkeep.round(_everything, datetime.now(UTC))
    ended = (await _get(client, "/v1/history/trends", since=SINCE))["items"][-1]
    assert (ended["risk_accepted"], ended["acceptances_ended"], ended["acceptances_expired"]) == (0, 2, 1)


async def test_trends_are_paged(client: httpx.AsyncClient, served: None) -> None:
    whole = (await _get(client, "/v1/history/trends", since=SINCE))["items"]
    found, cursor = [], None
    while True:
        page = await _get(client, "/v1/history/trends", since=SINCE, limit=2, **({"cursor": cursor} if cursor else {}))
        found += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == whole
    assert len(whole) >= 3


async def test_what_a_day_brought_outlives_its_points(
    client: httpx.AsyncClient, served: None, take: Take, upkeep: Upkeep
) -> None:
    before = await _trend(client)
    keeping = Retention(points=timedelta(0), days=None, changes=timedelta(days=2))
    await replace(upkeep, retention=keeping).prune(datetime.now(UTC))
    assert await _points(client) == []
    assert await _trend(client) == before


# --- comparisons


async def test_two_moments_are_compared_control_by_control(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, take: Take
) -> None:
    between = (START + timedelta(minutes=90)).isoformat()
    await take(
        Judged(0, [result("C-1"), result("C-2", Outcome.FAIL), result("C-3")], hours=2),
        Judged(1, [result("C-1"), result("C-2", Outcome.PARTIAL), result("C-3", Outcome.FAIL)], hours=3),
    )
    await _put(client, "/v1/instances/sales-us/insights", insights="on", note="Live.")
    await upkeep.round(_everything, datetime.now(UTC))
    found = await _get(client, "/v1/history/compare", since=between)
    assert (found["before"]["current"], found["after"]["current"], found["points"]) == (4.5, 13.5, 9)
    assert _told(found) == {("C-1", "gained", 3), ("C-3", "lost", -3)}
    assert [(change["instance"], change["points"]) for change in found["insights"]] == [("sales-us", 9)]
    assert found["is_complete"] is True
    at = (START + timedelta(hours=2, minutes=30)).isoformat()
    part = await _get(client, "/v1/history/compare", since=between, until=at, instance="sales-eu")
    assert _told(part) == {("C-1", "gained", 3), ("C-2", "lost", -1.5)}
    nothing = await _get(client, "/v1/history/compare", since=at, until=at)
    assert (nothing["points"], nothing["changes"]) == (0, [])
    before = await _get(client, "/v1/history/compare", since=SINCE)
    assert before["before"]["max"] == 0
    assert before["points"] == 13.5


@pytest.mark.parametrize(
    ("path", "params", "status_code"),
    [
        ("/v1/history", {"instance": "nobody"}, 404),
        ("/v1/history", {"product": "servicenow"}, 404),
        ("/v1/history", {"product": "salesforce", "instance": "sales-eu"}, 422),
        ("/v1/history", {"since": "2099-01-01T00:00:00Z"}, 422),
        ("/v1/history", {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, 422),
        ("/v1/history", {"until": "0001-01-02T00:00:00Z"}, 422),
        ("/v1/history", {"since": "yesterday"}, 422),
        ("/v1/history", {"resolution": "hour"}, 422),
        ("/v1/history", {"limit": "1001"}, 422),
        ("/v1/history", {"cursor": "x"}, 422),
        ("/v1/history", {"instance": "{$gt:}"}, 422),
        ("/v1/history", {"framework": "{$gt:}"}, 422),
        ("/v1/history", {"framework": "soc2", "category": "Apps"}, 422),
        ("/v1/history/trends", {"framework": "soc2", "category": "Apps"}, 422),
        ("/v1/history/trends", {"instance": "nobody"}, 404),
        ("/v1/history/trends", {"cursor": "x"}, 422),
        ("/v1/history/trends", {"resolution": "day"}, 422),
        ("/v1/history/compare", {}, 422),
        ("/v1/history/compare", {"since": "2099-01-01T00:00:00Z"}, 422),
    ],
)
async def test_a_wrong_question_is_a_problem(
    client: httpx.AsyncClient, served: None, path: str, params: dict[str, str], status_code: int
) -> None:
    answer = await client.get(path, params=params)
    assert (answer.status_code, answer.headers["content-type"]) == (status_code, MEDIA_TYPE), answer.text


async def test_a_range_begins_with_the_first_day_that_there_is(client: httpx.AsyncClient, served: None) -> None:
    page = await _get(client, "/v1/history", since="0001-01-01T00:00:00Z")
    assert page["items"][0]["day"] == START.date().isoformat()
    assert page["next_cursor"] is None
    before = START - timedelta(days=5)
    empty = await _get(client, "/v1/history", since=SINCE, until=before.isoformat())
    assert empty == {"items": [], "next_cursor": None}


# --- a recommendation's own


async def test_a_recommendation_tells_its_history(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, take: Take
) -> None:
    await take(Judged(3, [result("C-1"), result("C-2", Outcome.PARTIAL), result("C-3")]))
    await take(Judged(4, [result("C-1", Outcome.FAIL), result("C-2", Outcome.PARTIAL), result("C-3")]))
    await _put(client, "/v1/recommendations/sales-eu/C-1/status", status="planned", note="Soon.")
    await upkeep.round(_everything, datetime.now(UTC))
    found = (await _get(client, "/v1/recommendations/sales-eu/C-1"))["history"]
    told = [(entry["change"]["kind"], entry["change"]["points"]) for entry in found]
    assert told == [("status", 0), ("lost", -3), ("gained", 3), ("added", 0)]
    assert (found[0]["change"]["by"], found[0]["change"]["note"]) == ("tests", "Soon.")


# --- the change log


async def _log(database: Database, tenant: str = "contoso", number: int = 0) -> list[tuple[int, Any]]:
    return await ChangeLogRepository(database).since(tenant, 0, number, 10_000)


async def test_the_change_log_numbers_what_happened_without_a_gap(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, take: Take, database: Database
) -> None:
    await _put(client, "/v1/recommendations/sales-eu/C-1/status", status="planned")
    await upkeep.round(_everything, datetime.now(UTC))
    await take(Judged(3, [result("C-1"), result("C-2", Outcome.PARTIAL), result("C-3")]))
    log = await _log(database)
    assert [number for number, _ in log] == list(range(1, len(log) + 1))
    told = [(change.kind, change.scope, change.control_id) for _, change in log]
    assert told == [
        ("score_changed", "instance:sales-eu", None),
        ("score_changed", "product:salesforce", None),
        ("score_changed", "tenant", None),
        ("score_changed", "instance:sales-us", None),
        ("status_changed", "instance:sales-eu", "C-1"),
        ("finding_changed", "instance:sales-eu", "C-1"),
        ("status_changed", "instance:sales-eu", "C-1"),
        ("score_changed", "instance:sales-eu", None),
        ("score_changed", "product:salesforce", None),
        ("score_changed", "tenant", None),
    ]
    assert await _log(database, number=8) == log[8:]
    assert await _log(database, "fabrikam") == []


async def test_two_replicas_that_record_at_once_tell_everything_once(
    client: httpx.AsyncClient, served: None, database: Database
) -> None:
    replicas = [upkeep_of(database) for _ in range(3)]
    for number in range(6):
        status_ = "planned" if number % 2 else "resolved_third_party"
        await _put(client, "/v1/recommendations/sales-eu/C-1/status", status=status_)
        await asyncio.gather(*(replica.round(_everything, datetime.now(UTC)) for replica in replicas))
    await replicas[0].round(_everything, datetime.now(UTC))
    log = await _log(database)
    assert [number for number, _ in log] == list(range(1, len(log) + 1))
    assert len({change.event_id for _, change in log}) == len(log)
    points = await _points(client, instance="sales-eu")
    assert [point["points"] for point in points] == [4.5, 3, -3, 3, -3, 3, -3]
    assert len(await _points(client)) == 7
    assert await database["records"].count_documents({"is_pending": True}) == 0


# --- retention


async def test_points_end_with_their_time_and_days_do_not(
    client: httpx.AsyncClient, served: None, take: Take, database: Database, upkeep: Upkeep
) -> None:
    await take(Judged(0, [result("C-1"), result("C-2"), result("C-3")], hours=48))
    keeping = Retention(points=timedelta(days=2), days=None, changes=timedelta(days=2))
    await replace(upkeep, retention=keeping).prune(datetime.now(UTC))
    (point,) = await _points(client, instance="sales-eu")
    assert point["current"] == 9
    assert (await _get(client, "/v1/history"))["items"][0]["current"] == 4.5
    found = await _get(client, "/v1/history/compare", since=SINCE)
    assert (found["after"]["current"], found["is_complete"]) == (9, False)
    log = await _log(database)
    last = max(number for number, _ in log)
    await take(Judged(1, [result("C-1", Outcome.FAIL), result("C-2"), result("C-3")], hours=49))
    assert (await _log(database, number=last))[0][0] == last + 1
    days = Retention(points=None, days=timedelta(days=1), changes=timedelta(days=2))
    await replace(upkeep, retention=days).prune(datetime.now(UTC))
    assert await database["history_days"].count_documents({"day": f"{START:%Y-%m-%d}"}) == 0
