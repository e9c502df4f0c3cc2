"""The routes in the shape of Microsoft Graph, held to its documented names and types and to what its clients do."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest
from plumbline_contracts.events import Insights, Outcome, Product
from plumbline_score_api import app as composition
from plumbline_score_api.app import Database
from plumbline_score_api.graph.days import DETAILED_DAYS
from plumbline_score_api.graph.schemas import (
    ControlProfileAnswer,
    ControlProfilePage,
    GraphError,
    SecureScoreAnswer,
    SecureScorePage,
)
from plumbline_score_api.graph.service import GraphNames
from plumbline_score_api.keys.schemas import Role
from plumbline_score_api.limits import Limits
from plumbline_score_api.problems import ConflictError
from plumbline_score_api.projection.upkeep import Upkeep
from plumbline_score_api.services import Services

from tests.integration.score_api.events import START, Judged, definition, result, status
from tests.integration.score_api.in_process import ALL_ROLES, client_for

BASE = "/graph/v1.0/security"
SCORES, PROFILES = f"{BASE}/secureScores", f"{BASE}/secureScoreControlProfiles"
VENDOR = {"provider": "SecureScore", "vendor": "Microsoft"}
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
C_1 = f"{PROFILES}/MDA_C-1"
TODAY = datetime.now(UTC).date
Take = Callable[..., Awaitable[None]]


def _days() -> int:
    """How many days there are since the first evaluation, today included."""
    return (TODAY() - START.date()).days + 1


@pytest.fixture
async def take(upkeep: Upkeep) -> Take:
    """Projects evaluations and records them."""

    async def project(*evaluations: Judged) -> None:
        for judged in evaluations:
            for part in judged.parts():
                await upkeep.projection.take_part(part)

    return project


@pytest.fixture
async def served(upkeep: Upkeep, take: Take) -> None:
    """Salesforce sales-eu (main) and sales-us (on), ServiceNow it (main); sales-off counts nowhere."""
    await upkeep.projection.take_definitions(
        [definition("N-1", product=Product.SERVICENOW, aliases=[], category="Apps"), definition("C-4", aliases=[])]
    )
    for name, insights in (("sales-eu", None), ("sales-us", Insights.ON), ("sales-off", Insights.OFF)):
        await upkeep.projection.take_status(status(name, insights=insights))
    await upkeep.projection.take_status(status("it", product=Product.SERVICENOW))
    await take(
        Judged(1, [result("C-1", Outcome.FAIL), result("C-2", Outcome.PARTIAL), result("C-3")]),
        Judged(1, [result("C-1"), result("C-2"), result("C-4", Outcome.NOT_APPLICABLE)], instance="sales-us"),
        Judged(1, [result("C-1", Outcome.FAIL)], instance="sales-off"),
        Judged(1, [result("N-1", Outcome.UNKNOWN)], instance="it", product=Product.SERVICENOW),
    )


async def _get(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    query = {f"${name}": value for name, value in params.items()}
    return (await client.get(path, params=query)).raise_for_status().json()


async def _patch(client: httpx.AsyncClient, path: str = C_1, **body: Any) -> httpx.Response:
    return await client.patch(path, json={"vendorInformation": VENDOR, **body})


async def _state(client: httpx.AsyncClient, path: str = C_1) -> dict[str, Any]:
    (update,) = (await _get(client, path))["controlStateUpdates"]
    return dict(update)


def _error(answer: httpx.Response, status_code: int) -> str:
    """The message of an error in Graph's shape."""
    assert answer.status_code == status_code, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = GraphError.model_validate(answer.json()).error
    assert GUID.fullmatch(error.innerError.request_id)
    assert answer.headers["request-id"] == error.innerError.request_id
    assert error.code
    return f"{error.code}: {error.message}"


def _names(page: dict[str, Any]) -> list[str]:
    return [each["id"] for each in page["value"]]


async def _walk(client: httpx.AsyncClient, path: str, **params: Any) -> list[list[str]]:
    """The ids of every page, following the links."""
    page, found = await _get(client, path, **params), []
    while True:
        found.append(_names(page))
        if "@odata.nextLink" not in page:
            return found
        page = (await client.get(page["@odata.nextLink"])).raise_for_status().json()


# --- secureScores


async def test_the_score_of_today_is_live_and_of_the_tenant(client: httpx.AsyncClient, served: None) -> None:
    page = await _get(client, SCORES, top=1)
    SecureScorePage.model_validate(page)
    assert page["@odata.context"].endswith("/graph/v1.0/$metadata#security/secureScores")
    (today,) = page["value"]
    ours = (await client.get("/v1/secure-score")).json()
    assert (today["currentScore"], today["maxScore"]) == (ours["current"], ours["max"]) == (10.5, 18.0)
    assert GUID.fullmatch(today["azureTenantId"])
    assert today["id"] == f"{today['azureTenantId']}_{TODAY()}"
    assert today["createdDateTime"] == f"{TODAY()}T00:00:00Z"
    assert today["enabledServices"] == ["HasSalesforce", "HasServiceNow"]
    controls = {each["controlName"]: each for each in today["controlScores"]}
    assert list(controls) == ["C-4", "MDA_C-1", "MDA_C-2", "MDA_C-3", "N-1"]
    assert sum(each["score"] for each in controls.values()) == today["currentScore"]
    first = controls["MDA_C-1"]
    assert (first["score"], first["scoreInPercentage"], first["on"]) == (3.0, 50.0, "false")
    assert first["implementationStatus"] == "sales-eu: C-1 is FAIL\nsales-us: C-1 is PASS"
    assert first["lastSynced"] == f"{Judged(1).started_at:%Y-%m-%dT%H:%M:%SZ}"
    assert (controls["C-4"]["score"], controls["C-4"]["scoreInPercentage"]) == (0.0, 0.0)
    assert controls["C-4"]["implementationStatus"].startswith("Not applicable.")
    assert await _patch(client, state="ThirdParty")
    assert (await _get(client, SCORES, top=1))["value"][0]["currentScore"] == 13.5


async def test_former_days_come_from_the_history_with_the_controls_that_made_them(
    client: httpx.AsyncClient, served: None, take: Take
) -> None:
    await take(Judged(2, [result("C-1"), result("C-2"), result("C-3", Outcome.FAIL)], hours=24))
    await take(Judged(3, [result("C-2")], hours=48))
    page = await _get(client, SCORES)
    SecureScorePage.model_validate(page)
    history = (await client.get("/v1/history")).json()["items"]
    shown = [(each["createdDateTime"][:10], each["currentScore"], each["maxScore"]) for each in page["value"]]
    assert shown == [(each["day"], each["current"], each["max"]) for each in reversed(history)]
    assert len(shown) == _days()
    by_day = {each["createdDateTime"][:10]: each for each in page["value"]}
    for score in page["value"]:
        assert sum(each["score"] for each in score["controlScores"]) == pytest.approx(score["currentScore"])
    begin = {each["controlName"]: each["score"] for each in by_day[str(START.date())]["controlScores"]}
    assert begin == {"C-4": 0.0, "MDA_C-1": 3.0, "MDA_C-2": 4.5, "C-3": 3.0, "N-1": 0.0}, "nobody has C-3 now"
    next_day = by_day[str(Judged(2, hours=24).started_at.date())]["controlScores"]
    assert {each["controlName"]: each["score"] for each in next_day}["C-3"] == 0.0
    assert "sales-eu: Compliant." in {each["controlName"]: each for each in next_day}["MDA_C-1"]["implementationStatus"]
    last = by_day[str(Judged(3, hours=48).started_at.date())]["controlScores"]
    assert {each["controlName"]: each["score"] for each in last} == {
        "C-4": 0.0,
        "MDA_C-1": 3.0,
        "MDA_C-2": 6.0,
        "N-1": 0.0,
    }
    for name, score in by_day.items():
        one = await _get(client, f"{SCORES}/{score['id']}")
        SecureScoreAnswer.model_validate(one)
        assert one["controlScores"] == score["controlScores"], name


async def test_weeks_back_every_day_has_what_stood_then(client: httpx.AsyncClient, upkeep: Upkeep, take: Take) -> None:
    """C-1 passes from 40 to 25 days ago and since 6 days ago; C-2 came 17 days ago."""
    await upkeep.projection.take_status(status())
    for number, (days_ago, results) in enumerate(
        [
            (40, [result("C-1")]), (25, [result("C-1", Outcome.FAIL)]),
            (17, [result("C-1", Outcome.FAIL), result("C-2", Outcome.PARTIAL)]), (6, [result("C-1"), result("C-2")]),
        ]
    ):  # fmt: skip
        await take(Judged(number, results, hours=24 * (3 - days_ago) - number / 60))
    today, found = START.date() + timedelta(days=3), {}
    for score in (await _get(client, SCORES))["value"]:
        day = datetime.fromisoformat(score["createdDateTime"]).date()
        found[(today - day).days] = {each["controlName"]: each["score"] for each in score["controlScores"]}
    assert len(found) == 37 + _days()
    for days_ago, controls in found.items():
        first = 3.0 if days_ago >= 26 or days_ago <= 6 else 0.0
        second = {} if days_ago >= 18 else {"MDA_C-2": 3.0 if days_ago <= 6 else 1.5}
        assert controls == {"MDA_C-1": first, **second}, days_ago
    (some,) = (await _get(client, SCORES, skip=20, top=1))["value"]
    assert [each["score"] for each in some["controlScores"]] == [0.0]


async def test_insights_are_undone_for_former_days(client: httpx.AsyncClient, served: None, upkeep: Upkeep) -> None:
    before = await _get(client, SCORES)
    await client.put("/v1/instances/sales-us/insights", json={"insights": "off"})
    await client.put("/v1/instances/sales-off/insights", json={"insights": "on"})
    await upkeep.recorder.record_insights("contoso", Product.SALESFORCE)
    after = await _get(client, SCORES)
    assert after["value"][0]["currentScore"] != before["value"][0]["currentScore"]
    assert after["value"][1:] == before["value"][1:]
    assert all(score["controlScores"] for score in after["value"])


async def test_a_decision_of_today_is_undone_for_former_days(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep
) -> None:
    before = await _get(client, SCORES)
    await _patch(client, state="ThirdParty")
    await upkeep.recorder.record_all("contoso")
    after = await _get(client, SCORES)
    assert after["value"][0] != before["value"][0]
    assert after["value"][1:] == before["value"][1:]


async def test_what_retention_has_deleted_is_not_made_up(
    client: httpx.AsyncClient, database: Database, served: None, take: Take
) -> None:
    await take(Judged(2, [result("C-1")], hours=48))
    await database["history"].delete_many({})
    page = await _get(client, SCORES)
    SecureScorePage.model_validate(page)
    assert page["value"][0]["controlScores"]
    assert page["value"][-1]["controlScores"] == []
    assert page["value"][-1]["currentScore"] == 10.5


async def test_controls_are_made_out_for_as_long_as_microsoft_keeps_them(
    client: httpx.AsyncClient, served: None, database: Database, take: Take
) -> None:
    old = TODAY() - timedelta(days=DETAILED_DAYS + 200)
    day = await database["history_days"].find_one({"tenant": "contoso", "scope": "tenant"})
    assert day is not None
    await database["history_days"].insert_one({**day, "_id": f"contoso/tenant/{old}", "day": str(old)})
    page = await _get(client, SCORES, skip=DETAILED_DAYS + 10, top=2)
    assert [score["controlScores"] for score in page["value"]] == [[], []]
    walked = [name for names in await _walk(client, SCORES, select="id") for name in names]
    assert len(walked) == len(set(walked)) == DETAILED_DAYS + 201


async def test_days_page_newest_first(client: httpx.AsyncClient, served: None) -> None:
    pages = await _walk(client, SCORES, top=3)
    assert [len(page) for page in pages] == [3, _days() - 3]
    everything = [name for page in pages for name in page]
    assert everything == sorted(everything, reverse=True) == (await _walk(client, SCORES))[0]
    assert _names(await _get(client, SCORES, top=1, skip=2)) == [everything[2]]
    assert (
        (await _get(client, SCORES, skip=_days()))["value"] == (await _get(client, SCORES, skip=10**6))["value"] == []
    )


async def test_days_can_be_filtered_sorted_counted(client: httpx.AsyncClient, served: None) -> None:
    since = TODAY() - timedelta(days=1)
    (names,) = await _walk(client, SCORES, filter=f"createdDateTime ge {since}")
    assert len(names) == 2
    assert await _walk(client, SCORES, filter=f"createdDateTime ge {since}T00:00:00Z", top=1) == [
        [name] for name in names
    ]
    page = await _get(client, SCORES, count="true", top=1, orderby="createdDateTime")
    assert page["@odata.count"] == _days()
    assert page["value"][0]["createdDateTime"] == f"{START:%Y-%m-%d}T00:00:00Z"
    assert "%24" not in page["@odata.nextLink"]
    assert page["value"][0]["controlScores"]
    assert (await client.get(f"{SCORES}/$count")).text == str(_days())
    assert (await client.get(f"{SCORES}/$count", params={"$filter": "currentScore lt 1"})).text == "0"
    ascending = await _get(client, SCORES, orderby="createdDateTime asc")
    descending = await _get(client, SCORES)
    assert ascending["value"] == descending["value"][::-1]


async def test_selected_properties_alone(client: httpx.AsyncClient, served: None) -> None:
    page = await _get(client, SCORES, select="currentScore,id", top=1)
    assert page["@odata.context"].endswith("#security/secureScores(id,currentScore)")
    assert list(page["value"][0]) == ["id", "currentScore"]
    one = await _get(client, C_1, select="title")
    assert one == {"@odata.context": one["@odata.context"], "title": "Title of C-1"}
    assert one["@odata.context"].endswith("#security/secureScoreControlProfiles(title)/$entity")


async def test_a_tenant_without_instances_has_no_scores(client: httpx.AsyncClient, upkeep: Upkeep) -> None:
    assert (await _get(client, SCORES))["value"] == (await _get(client, PROFILES))["value"] == []
    assert (await client.get(f"{SCORES}/$count")).text == (await client.get(f"{PROFILES}/$count")).text == "0"
    await upkeep.projection.take_status(status())
    assert (await _get(client, SCORES))["value"] == []


async def test_a_day_that_is_not_there(client: httpx.AsyncClient, served: None) -> None:
    guid = (await _get(client, SCORES, top=1))["value"][0]["azureTenantId"]
    for name in (
        "x", f"{guid}", f"{guid}_", f"{guid}_2026", f"{guid}_9999-12-31", f"{guid}_0001-01-01", f"{guid}_20261124",
        f"{UUID(int=1)}_{TODAY()}", f"{TODAY()}", "%00", f"{guid}_2026-W48-2", f"{guid}_{TODAY() + timedelta(days=1)}",
    ):  # fmt: skip
        assert _error(await client.get(f"{SCORES}/{name}"), 404).startswith(
            "ResourceNotFound: There is no secure score"
        )
    assert (await client.get(f"{SCORES}/{guid.upper()}_{TODAY()}")).status_code == 200


# --- secureScoreControlProfiles


async def test_profiles_join_with_the_scores(client: httpx.AsyncClient, served: None) -> None:
    page = await _get(client, PROFILES)
    ControlProfilePage.model_validate(page)
    assert page["@odata.context"].endswith("/graph/v1.0/$metadata#security/secureScoreControlProfiles")
    (today,) = (await _get(client, SCORES, top=1))["value"]
    assert _names(page) == [each["controlName"] for each in today["controlScores"]]
    assert sum(each["maxScore"] for each in page["value"]) == today["maxScore"]
    profiles = {each["id"]: each for each in page["value"]}
    assert {name: each["service"] for name, each in profiles.items()} == {
        "C-4": "MDA_SF", "MDA_C-1": "MDA_SF", "MDA_C-2": "MDA_SF", "MDA_C-3": "MDA_SF", "N-1": "MDA_SNOW"
    }  # fmt: skip
    assert {each["azureTenantId"] for each in page["value"]} == {today["azureTenantId"]}
    assert sorted(each["rank"] for each in page["value"]) == [1, 2, 3, 4, 5]
    for name, profile in profiles.items():
        one = await _get(client, f"{PROFILES}/{name}")
        ControlProfileAnswer.model_validate(one)
        assert one == {"@odata.context": f"{page['@odata.context']}/$entity", **profile}
    assert (await _get(client, f"{PROFILES}/C-1"))["id"] == "MDA_C-1"


async def test_profiles_are_filtered_sorted_paged_counted(client: httpx.AsyncClient, served: None) -> None:
    assert await _walk(client, PROFILES, filter="service eq 'MDA_SNOW'") == [["N-1"]]
    assert await _walk(client, PROFILES, filter="controlCategory eq 'Identity' and not startswith(id,'MDA_')") == [
        ["C-4"]
    ]
    pages = await _walk(client, PROFILES, top=2)
    assert pages == [["C-4", "MDA_C-1"], ["MDA_C-2", "MDA_C-3"], ["N-1"]]
    by_rank = await _walk(client, PROFILES, orderby="rank desc", top=1, skip=1)
    whole = await _get(client, PROFILES, orderby="rank desc")
    assert [name for (name,) in by_rank] == _names(whole)[1:]
    page = await _get(client, PROFILES, count="true", top=1, filter="maxScore gt 0", select="id")
    assert (page["@odata.count"], list(page["value"][0])) == (4, ["id"])
    following = (await client.get(page["@odata.nextLink"])).json()
    assert (following["@odata.count"], list(following["value"][0])) == (4, ["id"])
    assert (await client.get(f"{PROFILES}/$count")).text == "5"


async def test_a_page_goes_on_where_the_last_one_ended_whatever_came_and_went(
    client: httpx.AsyncClient, served: None, take: Take
) -> None:
    page = await _get(client, PROFILES, top=3)
    gone = Judged(2, [result("C-2")], hours=1)
    await take(gone, Judged(2, [result("C-2"), result("C-4")], instance="sales-us", hours=1))
    following = (await client.get(page["@odata.nextLink"])).raise_for_status().json()
    assert _names(following) == ["N-1"], "MDA_C-1 and MDA_C-3 are gone; MDA_C-2 was the last one"


WRONG_OPTIONS = [
    "$top=0", "$top=-1", "$top=x", "$top=", "$skip=-1", "$skip=1e3", "$count=1", "$top=1&$top=2", "$expand=x",
    "$search=x", "$nonsense=1", "$filter=", "$filter=nothing eq 1", "$filter=(", "$orderby=nothing", "$orderby=",
    "$select=nothing", "$skiptoken=x", "$skiptoken=", "$apply=x", "$format=xml", f"$filter={'x' * 5000}",
    "$filter=id eq {\"$gt\": \"\"}", "$top=99999999999999999999",
]  # fmt: skip


async def test_options_that_cannot_be_used(client: httpx.AsyncClient, served: None) -> None:
    for query in WRONG_OPTIONS:
        for path in (SCORES, PROFILES):
            assert _error(await client.get(f"{path}?{query}"), 400).startswith("BadRequest: ")


async def test_a_token_belongs_to_its_list(client: httpx.AsyncClient, served: None) -> None:
    link = (await _get(client, PROFILES, top=1))["@odata.nextLink"]
    token = link.partition("$skiptoken=")[2]
    for path, more in ((PROFILES, {"$filter": "rank gt 0"}), (PROFILES, {"$orderby": "rank"}), (SCORES, {})):
        _error(await client.get(path, params={"$skiptoken": token, **more}), 400)


async def test_options_of_others_are_ignored(client: httpx.AsyncClient, served: None) -> None:
    assert len((await client.get(f"{PROFILES}?=1&api-version=2&x=y&x=z")).raise_for_status().json()["value"]) == 5


async def test_there_are_no_other_methods_or_segments(client: httpx.AsyncClient, served: None) -> None:
    for method, path in (("POST", SCORES), ("DELETE", C_1), ("PUT", C_1), ("PATCH", PROFILES), ("PATCH", SCORES)):
        answer = await client.request(method, path, json={})
        assert _error(answer, 405).startswith("MethodNotAllowed")
        assert answer.headers["allow"]
    for path in ("/graph", "/graph/", "/graph/v1.0", "/graph/beta/security/secureScores", f"{SCORES}/x/y", f"{C_1}/"):
        _error(await client.get(path), 404)
    _error(await client.get(f"{PROFILES}/nothing"), 404)


async def test_the_next_page_is_where_the_api_is_and_never_where_the_caller_says(
    database: Database, client: httpx.AsyncClient, served: None
) -> None:
    for headers in ({"Host": "evil.example"}, {"X-Forwarded-Host": "evil.example"}, {"Forwarded": "host=evil.example"}):
        page = (await client.get(f"{PROFILES}?$top=1", headers=headers)).json()
        assert urlsplit(page["@odata.nextLink"])[:2] == ("http", "score-api")
        assert "evil" not in json.dumps(page)
    names = GraphNames({"contoso": UUID(int=7)}, "https://plumbline.contoso.example/")
    services = composition.build_services(database, _nobody, names=names)
    async with client_for(services, await services.keys.create("contoso", "tests", ALL_ROLES)) as configured:
        page = (await configured.get(f"{PROFILES}?$top=1")).json()
    assert page["@odata.nextLink"].startswith(f"https://plumbline.contoso.example{PROFILES}?$top=1&$skiptoken=")
    assert page["@odata.context"].startswith("https://plumbline.contoso.example/graph/v1.0/$metadata#")
    assert page["value"][0]["azureTenantId"] == "00000000-0000-0000-0000-000000000007"


async def _nobody(_: Any) -> None:
    """Nobody collects."""


async def test_lists_have_an_etag_where_they_are_not_streamed(client: httpx.AsyncClient, served: None) -> None:
    answer = await client.get(PROFILES)
    assert answer.headers["odata-version"] == "4.0"
    assert answer.headers["content-type"].startswith("application/json;odata.metadata=minimal")
    assert (await client.get(PROFILES, headers={"If-None-Match": answer.headers["etag"]})).status_code == 304
    streamed = await client.get(SCORES)
    assert "etag" not in streamed.headers
    assert streamed.headers["cache-control"] == "no-store"
    assert (await client.head(SCORES)).status_code == 200


# --- PATCH


async def test_a_patch_decides_on_every_instance_that_counts(client: httpx.AsyncClient, served: None) -> None:
    answer = await _patch(client, state="Ignored", comment="Until the new portal.", assignedTo="ben")
    assert (answer.status_code, answer.content) == (204, b"")
    update = await _state(client)
    assert {**update, "updatedDateTime": "*"} == {
        "assignedTo": "ben", "comment": "Until the new portal.", "state": "Ignored", "updatedBy": "tests",
        "updatedDateTime": "*",
    }  # fmt: skip
    for name, expected in (("sales-eu", "risk_accepted"), ("sales-us", "completed"), ("sales-off", "to_address")):
        shown = (await client.get(f"/v1/recommendations/{name}/C-1/status")).json()
        assert shown["status"] == expected
        assert (shown["decision"] is None) == (name == "sales-off")
    audit = (await client.get("/v1/audit", params={"action": "status_set"})).json()["items"]
    assert {(entry["instance"], entry["who"], entry["note"]) for entry in audit} == {
        ("sales-eu", "tests", "Until the new portal."), ("sales-us", "tests", "Until the new portal.")
    }  # fmt: skip


async def test_a_representation_on_request(client: httpx.AsyncClient, served: None) -> None:
    for prefer, expected in (
        ("return=representation", 200), ("respond-async, Return = Representation", 200),
        ('return="representation"', 200), ("return=minimal", 204), ("x", 204),
    ):  # fmt: skip
        body = {"vendorInformation": VENDOR, "state": "Reviewed"}
        answer = await client.patch(C_1, json=body, headers={"Prefer": prefer})
        assert answer.status_code == expected
        if expected == 200:
            shown = ControlProfileAnswer.model_validate(answer.json())
            assert shown.control_state_updates[0].state == "Reviewed"
            assert answer.headers["preference-applied"] == "return=representation"
            assert answer.json() == await _get(client, C_1)


async def test_saying_it_again_changes_nothing(client: httpx.AsyncClient, served: None) -> None:
    for _ in range(3):
        assert (await _patch(client, state="ignored", comment="why", assignedTo="")).status_code == 204
    audit = (await client.get("/v1/audit", params={"action": "status_set"})).json()["items"]
    assert len(audit) == 2


async def test_what_is_not_sent_stays_per_instance(client: httpx.AsyncClient, served: None) -> None:
    planned = {"status": "planned", "note": "soon", "expires_at": "2099-01-01T00:00:00Z", "reason": "JIRA-1"}
    (await client.put("/v1/recommendations/sales-eu/C-1/status", json=planned)).raise_for_status()
    assert (await _patch(client, assignedTo="ben")).status_code == 204
    eu, us = [
        (await client.get(f"/v1/recommendations/{name}/C-1/status")).json()["decision"]
        for name in ("sales-eu", "sales-us")
    ]
    assert (eu["status"], eu["note"], eu["assignee"], eu["reason"]) == ("planned", "soon", "ben", "JIRA-1")
    assert eu["expires_at"] is not None
    assert (us["status"], us["note"], us["assignee"]) == ("to_address", None, "ben")
    await _patch(client, state="ThirdParty")
    assert {(await _state(client))["state"], (await _state(client))["assignedTo"]} == {"ThirdParty", "ben"}
    await _patch(client, state="Default", comment="", assignedTo="")
    assert (await _state(client))["state"] == "Default"


async def test_instances_with_different_states_are_told_apart(client: httpx.AsyncClient, served: None) -> None:
    (await client.put("/v1/recommendations/sales-us/C-1/status", json={"status": "risk_accepted"})).raise_for_status()
    update = await _state(client)
    assert (update["state"], update["comment"]) == ("Default", "sales-eu: Default; sales-us: Ignored")


WRONG_BODIES: list[Any] = [
    {}, {"state": "Ignored"}, {"vendorInformation": VENDOR, "state": "Planned"}, [], None, "x",
    {"vendorInformation": VENDOR, "nothing": 1}, {"vendorInformation": VENDOR, "comment": {"$gt": ""}},
    {"vendorInformation": {"provider": "SecureScore", "vendor": "Fabrikam"}, "state": "Ignored"},
]  # fmt: skip


async def test_a_bad_patch_changes_nothing(client: httpx.AsyncClient, served: None) -> None:
    for body in WRONG_BODIES:
        assert _error(await client.patch(C_1, json=body), 400).startswith("BadRequest")
    assert (await client.get("/v1/audit")).json()["items"] == []


async def test_broken_and_large_bodies(client: httpx.AsyncClient, served: None) -> None:
    headers = {"Content-Type": "application/json"}
    _error(await client.patch(C_1, content=b"{broken", headers=headers), 400)
    _error(await client.patch(C_1, content=b" " * 70_000, headers=headers), 413)
    _error(await _patch(client, f"{PROFILES}/nothing", state="Ignored"), 404)


async def test_what_counts_nowhere_cannot_be_decided(
    client: httpx.AsyncClient, served: None, take: Take, upkeep: Upkeep
) -> None:
    await upkeep.projection.take_definitions([definition("C-9", aliases=[])])
    await take(Judged(2, [result("C-9", Outcome.FAIL)], instance="sales-off"))
    _error(await client.get(f"{PROFILES}/C-9"), 404)
    _error(await _patch(client, f"{PROFILES}/C-9", state="Ignored"), 404)


async def test_patches_at_the_same_moment_leave_one_state(services: Services, served: None) -> None:
    key = await services.keys.create("contoso", "tests", ALL_ROLES)
    async with client_for(services, key) as client:
        states = ["Ignored", "Reviewed", "ThirdParty", "Default"] * 3
        answers = await asyncio.gather(*(_patch(client, state=state, comment=state) for state in states))
        for answer in answers:
            if answer.status_code != 204:
                assert "Send it again." in _error(answer, 409)
        assert (await _patch(client, state="Reviewed", comment="last")).status_code == 204
        update = await _state(client)
        assert (update["state"], update["comment"]) == ("Reviewed", "last")


class _Busy:
    """Decisions of which those on one instance never succeed."""

    def __init__(self, real: Any, busy: str) -> None:
        self._real, self._busy = real, busy

    async def one(self, *names: str) -> Any:
        return await self._real.one(*names)

    async def decide(self, tenant: str, who: Any, instance: str, *rest: Any) -> Any:
        if instance == self._busy:
            raise ConflictError("busy")
        return await self._real.decide(tenant, who, instance, *rest)


async def test_a_patch_that_reaches_some_instances_says_which_it_did_not(
    services: Services, client: httpx.AsyncClient, served: None
) -> None:
    real = services.graph._decisions
    services.graph._decisions = _Busy(real, "sales-eu")  # type: ignore[assignment]
    message = _error(await _patch(client, state="Ignored"), 409)
    assert "Decided for 1 of 2 instances; others are changing sales-eu." in message
    services.graph._decisions = real
    assert (await _state(client))["comment"] == "sales-eu: Default; sales-us: Ignored"
    assert (await _patch(client, state="Ignored")).status_code == 204
    assert (await _state(client))["state"] == "Ignored"


# --- access


async def test_errors_have_graph_s_shape_whoever_gives_them(
    services: Services, anonymous: httpx.AsyncClient, client: httpx.AsyncClient, database: Database, served: None
) -> None:
    answer = await anonymous.get(SCORES)
    assert _error(answer, 401).startswith("InvalidAuthenticationToken")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    reader = await services.keys.create("contoso", "reader", frozenset({Role.READ}))
    async with client_for(services, reader) as reading:
        assert (await reading.get(C_1)).status_code == 200
        assert _error(await _patch(reading, state="Ignored"), 403).startswith("Forbidden")
    limits = Limits(requests_per_minute=6)
    async with client_for(services, reader, None, limits) as limited:
        answers = [await limited.get(SCORES) for _ in range(2)]
    assert _error(answers[1], 429).startswith("TooManyRequests")
    assert int(answers[1].headers["retry-after"]) > 0
    await database["instances"].insert_one({"_id": "contoso/x", "tenant": "contoso"})
    answer = await client.get(SCORES)
    assert _error(answer, 500).startswith("InternalServerError")
    assert answer.headers["x-frame-options"] == "DENY"


async def test_no_tenant_sees_another_s(services: Services, client: httpx.AsyncClient, served: None) -> None:
    (ours,) = (await _get(client, SCORES, top=1))["value"]
    other = await services.keys.create("fabrikam", "tests", ALL_ROLES)
    async with client_for(services, other) as theirs:
        assert (await _get(theirs, SCORES))["value"] == (await _get(theirs, PROFILES))["value"] == []
        _error(await theirs.get(f"{SCORES}/{ours['id']}"), 404)
        _error(await theirs.get(C_1), 404)
        _error(await _patch(theirs, state="Ignored"), 404)
        link = (await _get(client, PROFILES, top=1))["@odata.nextLink"]
        _error(await theirs.get(link), 400)
    assert (await _state(client))["state"] == "Default"


async def test_a_day_is_split_where_utc_splits_it(
    client: httpx.AsyncClient, served: None, take: Take, database: Database
) -> None:
    """Two instances are evaluated around midnight, and the earlier one is recorded later."""
    midnight = datetime.combine(START.date() + timedelta(days=2), datetime.min.time(), UTC)
    late, early = (midnight + timedelta(seconds=seconds) - START for seconds in (3, -7))
    await take(
        Judged(0, [result("C-1"), result("C-2")], instance="sales-us", hours=late / timedelta(hours=1)),
        Judged(0, [result("C-1")], hours=early / timedelta(hours=1)),
    )
    for score in (await _get(client, SCORES))["value"]:
        assert score["controlScores"], score["id"]
        assert sum(each["score"] for each in score["controlScores"]) == pytest.approx(score["currentScore"])
