"""What the routes answer."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from plumbline_contracts.events import (
    ApiBudget,
    AuditEntry,
    CollectionRequest,
    DatasetState,
    DatasetSummary,
    Insights,
    Outcome,
    RequestReason,
    UnknownReason,
)
from plumbline_score_api.app import Database
from plumbline_score_api.problems import MEDIA_TYPE, UnavailableError
from plumbline_score_api.projection.service import ProjectionService
from plumbline_score_api.services import Services
from prometheus_client import REGISTRY
from pymongo.errors import AutoReconnect

from tests.integration.score_api.events import START, Judged, definition, result, status
from tests.integration.score_api.in_process import ALL_ROLES, COMMANDS, client_for


@pytest.fixture
async def served(projection: ProjectionService) -> None:
    """Three instances of two products; main instances are sales-eu and itsm."""
    await projection.take_status(status("sales-eu"))
    await projection.take_status(status("sales-us"))
    mixed = [
        result("C-1", Outcome.FAIL, exposed=2),
        result("C-2", Outcome.PARTIAL),
        result("C-3", Outcome.NOT_APPLICABLE),
    ]
    unknown = [result("C-1"), result("C-2", Outcome.UNKNOWN, reason=UnknownReason.MISSING_PERMISSION)]
    evaluations = (
        Judged(1, mixed, instance="sales-eu"),
        Judged(2, [result("C-1"), result("C-2"), result("C-3")], instance="sales-us"),
        Judged(3, unknown, instance="itsm", product="servicenow"),  # type: ignore[arg-type]
    )
    for judged in evaluations:
        for part in judged.parts():
            await projection.take_part(part)


async def _get(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    return (await client.get(path, params=params)).raise_for_status().json()


def _problem(answer: httpx.Response, status_code: int) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status_code, MEDIA_TYPE)
    body: dict[str, Any] = answer.json()
    return body


# --- scores


async def test_secure_score_has_the_documented_shape(client: httpx.AsyncClient, served: None) -> None:
    score = await _get(client, "/v1/secure-score")
    assert [product["product"] for product in score["products"]] == ["salesforce", "servicenow"]
    assert [product["main_instance"] for product in score["products"]] == ["sales-eu", "itsm"]
    fields = {"current", "max", "percentage", "coverage", "evaluated_at"}
    assert fields <= score.keys()
    for product in score["products"]:
        assert fields <= product.keys()
    assert (score["current"], score["max"], score["percentage"], score["coverage"]) == (4.5, 12, 37.5, 75)
    assert score["evaluated_at"] == max(product["evaluated_at"] for product in score["products"])


async def test_unknown_counts_nothing_and_not_applicable_leaves_both_sides(
    client: httpx.AsyncClient, served: None
) -> None:
    salesforce, servicenow = (await _get(client, "/v1/products"))["items"]
    assert (salesforce["current"], salesforce["max"], salesforce["coverage"]) == (1.5, 6, 100)
    assert (servicenow["current"], servicenow["max"], servicenow["coverage"]) == (3, 6, 50)


async def test_a_product_is_its_main_instance_unless_others_are_turned_on(
    client: httpx.AsyncClient, served: None
) -> None:
    before = await _get(client, "/v1/products/salesforce")
    assert (before["current"], before["max"], before["counted_instances"]) == (1.5, 6, ["sales-eu"])
    assert [instance["insights"] for instance in before["instances"]] == ["main", "off"]
    assert [instance["current"] for instance in before["instances"]] == [1.5, 9]
    await client.put("/v1/instances/sales-us/insights", json={"insights": "on"})
    after = await _get(client, "/v1/products/salesforce")
    assert (after["current"], after["max"], after["counted_instances"]) == (10.5, 15, ["sales-eu", "sales-us"])


async def test_every_view_says_all_that_is_known_of_its_scope(
    client: httpx.AsyncClient, projection: ProjectionService
) -> None:
    """Points, coverage, what is planned and achievable, counts by status and outcome, moments, what is stale."""
    await projection.take_definitions([definition("C-1", frameworks={"soc2": ["CC6.1"]})])
    await projection.take_status(status())
    results = [result("C-1", Outcome.FAIL), result("C-2", Outcome.FAIL), result("C-3", Outcome.FAIL), result("C-4")]
    await projection.take_definitions([definition("C-4")])
    for judged in (
        Judged(1, results),
        Judged(2, [*results[:3], result("C-4", Outcome.UNKNOWN, reason=UnknownReason.COLLECTION_ERROR)]),
    ):
        for part in judged.parts():
            await projection.take_part(part)
    for control, chosen in (("C-2", "planned"), ("C-3", "risk_accepted")):
        body = {"status": chosen}
        (await client.put(f"/v1/recommendations/sales-eu/{control}/status", json=body)).raise_for_status()
    evaluated = (START + timedelta(minutes=2, seconds=5)).isoformat().replace("+00:00", "Z")
    expected = {
        "current": 3, "max": 12, "percentage": 25, "zone": "poor", "coverage": 75, "planned": 6,
        "planned_percentage": 50, "achievable": 9, "achievable_percentage": 75,
        "evaluated_at": evaluated, "first_evaluated_at": evaluated,
        "stale_since": (START + timedelta(minutes=2)).isoformat().replace("+00:00", "Z"),
        "counts": {
            "outcomes": {"FAIL": 3, "PASS": 1}, "regressed": 0, "stale": 1,
            "statuses": {"completed": 1, "planned": 1, "risk_accepted": 1, "to_address": 1},
        },
    }  # fmt: skip
    product = await _get(client, "/v1/products/salesforce")
    views = [
        await _get(client, "/v1/secure-score"), product, *product["categories"], *product["instances"],
        *(await _get(client, "/v1/products"))["items"], *(await _get(client, "/v1/categories"))["items"],
        *(await _get(client, "/v1/instances"))["items"], await _get(client, "/v1/instances/sales-eu"),
        await _get(client, "/v1/instances/sales-eu/score"),
    ]  # fmt: skip
    for view in views:
        assert {name: view[name] for name in expected} == expected
    framework = await _get(client, "/v1/frameworks/soc2")
    for view in (framework, *framework["requirements"], *(await _get(client, "/v1/frameworks"))["items"]):
        assert expected.keys() <= view.keys()
        assert (view["max"], view["counts"]["outcomes"], view["stale_since"]) == (3, {"FAIL": 1}, None)
        assert view["evaluated_at"] == evaluated


async def test_a_tenant_without_instances_has_an_empty_score(client: httpx.AsyncClient) -> None:
    score = await _get(client, "/v1/secure-score")
    assert {score[name] for name in ("current", "max", "percentage", "coverage", "planned", "achievable")} == {0}
    assert (score["evaluated_at"], score["first_evaluated_at"], score["products"]) == (None, None, [])
    assert (score["zone"], score["stale_since"]) == (None, None)
    assert score["counts"] == {"outcomes": {}, "statuses": {}, "regressed": 0, "stale": 0}


async def test_an_instance_without_evaluation_is_there_and_counts_nothing(
    client: httpx.AsyncClient, projection: ProjectionService
) -> None:
    await projection.take_status(status("new"))
    instance = await _get(client, "/v1/instances/new")
    assert (instance["evaluated_at"], instance["max"], instance["insights"]) == (None, 0, "main")
    assert (await _get(client, "/v1/secure-score"))["evaluated_at"] is None


async def test_an_instance_says_what_reading_cost_what_is_left_and_who_changed_what(
    client: httpx.AsyncClient, projection: ProjectionService
) -> None:
    read = DatasetSummary(
        name="users", kind="rows", state=DatasetState.OK, row_count=7, source="User", calls=3, bytes=2048, seconds=0.5
    )
    budget = ApiBudget(used_by_us=70, used_in_total=900, daily_limit=15000, share=0.1, day="2026-11-01")
    await projection.take_status(status(datasets=[read], budget=budget))
    change = AuditEntry(
        at=START, actor="ann@contoso.example", action="changedPasswordLength", subject="minimumPasswordLength",
        old_value="12", new_value="5",
    )  # fmt: skip
    for part in Judged(1, changes=[change]).parts():
        await projection.take_part(part)
    instance = await _get(client, "/v1/instances/sales-eu")
    (dataset,) = instance["datasets"]
    assert (dataset["row_count"], dataset["calls"]) == (7, 3)
    assert (dataset["bytes"], dataset["seconds"]) == (2048, 0.5)
    assert (instance["budget"]["used_by_us"], instance["budget"]["daily_limit"]) == (70, 15000)
    (told,) = instance["changes"]
    assert (told["actor"], told["subject"], told["old_value"], told["new_value"]) == (
        "ann@contoso.example", "minimumPasswordLength", "12", "5",
    )  # fmt: skip


async def test_views_of_every_scope_agree(client: httpx.AsyncClient, projection: ProjectionService) -> None:
    await projection.take_definitions(
        [
            definition("C-1", digest="d2", frameworks={"soc2": ["CC6.1", "CC6.2"], "cis_v8": ["5.1"]}),
            definition("C-2", digest="d2", category="Apps", frameworks={"soc2": ["CC6.1"]}),
            definition("C-3", digest="d2", category="Data"),
        ]
    )
    results = [
        result("C-1", Outcome.FAIL, digest="d2"),
        result("C-2", Outcome.PARTIAL, digest="d2"),
        result("C-3", digest="d2"),
    ]
    for name in ("sales-eu", "sales-us"):
        await projection.take_status(status(name))
        for part in Judged(1, results, instance=name).parts():
            await projection.take_part(part)
    score = await _get(client, "/v1/secure-score")
    categories = (await _get(client, "/v1/categories"))["items"]
    assert [(each["category"], each["current"], each["max"]) for each in categories] == [
        ("Apps", 1.5, 3), ("Data", 3, 3), ("Identity", 0, 3),
    ]  # fmt: skip
    assert sum(each["current"] for each in categories) == score["current"]
    instance = await _get(client, "/v1/instances/sales-us/score")
    assert (instance["current"], instance["insights"], instance["categories"]) == (4.5, "off", categories)
    assert (await _get(client, "/v1/products/salesforce"))["categories"] == categories
    frameworks = (await _get(client, "/v1/frameworks"))["items"]
    assert [(each["framework"], each["current"], each["max"]) for each in frameworks] == [
        ("cis_v8", 0, 3), ("soc2", 1.5, 6),
    ]  # fmt: skip
    soc2 = await _get(client, "/v1/frameworks/soc2", instance="sales-us")
    assert (soc2["current"], soc2["max"]) == (1.5, 6)
    assert [(each["requirement"], each["current"], each["max"]) for each in soc2["requirements"]] == [
        ("CC6.1", 1.5, 6), ("CC6.2", 0, 3),
    ]  # fmt: skip
    assert soc2["counts"]["outcomes"] == {"FAIL": 1, "PARTIAL": 1}
    assert (await _get(client, "/v1/categories", product="servicenow"))["items"] == []
    nothing: list[tuple[str, dict[str, str]]] = [
        ("/v1/frameworks/iso", {}),
        ("/v1/frameworks/soc2", {"product": "servicenow"}),
        ("/v1/categories", {"instance": "x"}),
        ("/v1/frameworks", {"instance": "sales-eu", "product": "servicenow"}),
        ("/v1/instances/x/score", {}),
    ]
    for path, params in nothing:
        _problem(await client.get(path, params=params), 404)


# --- insights


async def test_main_moves_in_one_step(client: httpx.AsyncClient, served: None) -> None:
    answer = await client.put("/v1/instances/sales-us/insights", json={"insights": "main"})
    assert answer.json()["insights"] == "main"
    listed = {item["instance"]: item["insights"] for item in (await _get(client, "/v1/instances"))["items"]}
    assert listed == {"itsm": "main", "sales-eu": "on", "sales-us": "main"}


async def test_the_main_instance_cannot_be_turned_off(client: httpx.AsyncClient, served: None) -> None:
    for insights in ("off", "on"):
        answer = await client.put("/v1/instances/sales-eu/insights", json={"insights": insights})
        assert "another one main" in _problem(answer, 422)["detail"]


async def test_choices_at_the_same_time_leave_one_main_and_lose_none(
    client: httpx.AsyncClient, projection: ProjectionService, database: Database
) -> None:
    names = [f"i{n}" for n in range(6)]
    for name in names:
        await projection.take_status(status(name))

    async def choose(name: str) -> int:
        return (await client.put(f"/v1/instances/{name}/insights", json={"insights": "main"})).status_code

    assert set(await asyncio.gather(*map(choose, names), *map(choose, names))) <= {200, 409}
    (document,) = [d async for d in database["insights"].find({})]
    assert sorted(entry["instance"] for entry in document["choices"]) == names
    assert [entry["insights"] for entry in document["choices"]].count("main") == 1


async def test_a_person_s_choice_outlives_the_connections_file(
    client: httpx.AsyncClient, projection: ProjectionService
) -> None:
    await projection.take_status(status("a", insights=Insights.MAIN))
    await projection.take_status(status("b", insights=Insights.OFF))
    await client.put("/v1/instances/b/insights", json={"insights": "main"})
    await projection.take_status(status("a", number=1, insights=Insights.MAIN))
    await projection.take_status(status("b", number=1, insights=Insights.OFF))
    listed = {item["instance"]: item["insights"] for item in (await _get(client, "/v1/instances"))["items"]}
    assert listed == {"a": "on", "b": "main"}


async def test_an_old_status_that_is_read_again_moves_nothing(
    client: httpx.AsyncClient, projection: ProjectionService
) -> None:
    old = status("a", insights=Insights.MAIN)
    await projection.take_status(old)
    await projection.take_status(status("a", number=1, insights=None))
    await projection.take_status(status("b", number=2, insights=Insights.MAIN))
    await projection.take_status(old)
    assert (await _get(client, "/v1/instances/b"))["insights"] == "main"


@pytest.mark.parametrize(
    "body", [{}, {"insights": "maybe"}, {"insights": "on", "extra": 1}, [], "on", None, {"insights": None}]
)
async def test_a_wrong_choice_is_told_what_is_allowed(client: httpx.AsyncClient, served: None, body: Any) -> None:
    problem = _problem(await client.put("/v1/instances/sales-us/insights", json=body), 422)
    assert problem["errors"]
    if body == {"insights": "maybe"}:
        assert problem["errors"] == [{"at": "body.insights", "message": "Input should be 'main', 'on' or 'off'"}]


# --- scans


@pytest.mark.parametrize("content", ["", "{}", " {} \n"])
@pytest.mark.parametrize("kind", [None, "application/json", "application/x-www-form-urlencoded"])
async def test_a_scan_takes_nothing_or_an_empty_object(
    client: httpx.AsyncClient, served: None, asked: list[CollectionRequest], content: str, kind: str | None
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = await client.post("/v1/instances/sales-eu/scan", content=content, headers=headers)
    assert answer.status_code == 202
    (request,) = asked
    assert answer.json()["request_id"] == request.request_id
    assert (request.tenant, request.instance, request.reason, request.requested_by) == (
        "contoso", "sales-eu", RequestReason.USER, "tests",
    )  # fmt: skip


async def test_repeated_scans_are_all_accepted(
    client: httpx.AsyncClient, served: None, asked: list[CollectionRequest]
) -> None:
    for _ in range(3):
        assert (await client.post("/v1/instances/sales-eu/scan")).status_code == 202
    assert {request.key for request in asked} == {"contoso/sales-eu"}


@pytest.mark.parametrize(
    ("content", "status_code"),
    [("[]", 422), ("{broken", 400), ('{"full": true}', 422), ('"x"', 422), ("null", 422), ("\xff", 400)],
)
async def test_a_scan_with_anything_else_is_refused(
    client: httpx.AsyncClient, served: None, asked: list[CollectionRequest], content: str, status_code: int
) -> None:
    answer = await client.post("/v1/instances/sales-eu/scan", content=content.encode("latin-1"))
    assert bool(_problem(answer, status_code)["errors"]) == (status_code == 422)
    assert asked == []


async def test_a_scan_of_an_unknown_instance_is_404(client: httpx.AsyncClient, served: None) -> None:
    assert "nobody" in _problem(await client.post("/v1/instances/nobody/scan"), 404)["detail"]


# --- recommendations


async def test_recommendations_come_by_rank(client: httpx.AsyncClient, served: None) -> None:
    page = await _get(client, "/v1/recommendations")
    assert [item["rank"] for item in page["items"]] == list(range(1, 9))
    left = [item["points_left"] for item in page["items"]]
    assert left == sorted(left, reverse=True)
    assert page["total"] == 8


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"product": "servicenow"}, {("itsm", "C-1"), ("itsm", "C-2")}),
        ({"instance": "sales-eu", "outcome": "FAIL"}, {("sales-eu", "C-1")}),
        ({"outcome": ["FAIL", "UNKNOWN"]}, {("sales-eu", "C-1"), ("itsm", "C-2")}),
        ({"status": "completed", "instance": "itsm"}, {("itsm", "C-1")}),
        ({"status": "to_address", "instance": "itsm"}, {("itsm", "C-2")}),
        ({"status": "planned"}, set()),
        ({"instance": "nobody"}, set()),
        ({"severity": "low"}, set()),
        ({"category": "Identity", "instance": "itsm"}, {("itsm", "C-1"), ("itsm", "C-2")}),
    ],
)  # fmt: skip
async def test_filters(
    client: httpx.AsyncClient, served: None, filters: dict[str, Any], expected: set[tuple[str, str]]
) -> None:
    page = await _get(client, "/v1/recommendations", **filters)
    assert {(item["instance"], item["control_id"]) for item in page["items"]} == expected
    assert page["total"] == len(expected)


@pytest.mark.parametrize("sort", ["rank", "points_left", "severity", "name", "last_changed"])
async def test_pages_join_to_the_whole_list(client: httpx.AsyncClient, served: None, sort: str) -> None:
    whole = (await _get(client, "/v1/recommendations", sort=sort))["items"]
    assert sorted(item["rank"] for item in whole) == list(range(1, 9))
    for limit in (1, 3, 8):
        found, cursor = [], None
        while True:
            more: dict[str, str] = {"cursor": cursor} if cursor else {}
            page = await _get(client, "/v1/recommendations", limit=limit, sort=sort, **more)
            found += page["items"]
            if (cursor := page["next_cursor"]) is None:
                break
        assert found == whole


async def test_counts_come_when_they_are_asked_for(client: httpx.AsyncClient, served: None) -> None:
    assert (await _get(client, "/v1/recommendations"))["counts"] is None
    page = await _get(client, "/v1/recommendations", counts="true", instance="sales-eu", outcome="FAIL")
    assert page["counts"]["outcome"] == {"FAIL": 1, "NOT_APPLICABLE": 1, "PARTIAL": 1}
    assert page["counts"]["instance"] == {"sales-eu": 1}


@pytest.mark.parametrize("text", ["title of c-1", "C-1", "mda_c-1", "WHAT is judged c-1"])
async def test_a_search_finds_text_in_any_case(client: httpx.AsyncClient, served: None, text: str) -> None:
    page = await _get(client, "/v1/recommendations", text=text)
    assert {item["control_id"] for item in page["items"]} == {"C-1"}


@pytest.mark.parametrize("text", [".*", "[", "$where", '{"$gt": ""}', "(a+)+$", "\x00", "\\"])
async def test_a_search_is_text_and_nothing_else(client: httpx.AsyncClient, served: None, text: str) -> None:
    assert (await _get(client, "/v1/recommendations", text=text))["total"] == 0


async def test_a_cursor_is_good_for_its_own_list_alone(
    client: httpx.AsyncClient, services: Services, served: None
) -> None:
    cursor = (await _get(client, "/v1/recommendations", limit=1))["next_cursor"]
    wrong = [
        {"cursor": cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB")},
        {"cursor": cursor, "outcome": "FAIL"},
        {"cursor": "x"},
        {"cursor": "WyJcdWQ4MDAiXQ"},
    ]
    for params in wrong:
        assert "cursor" in _problem(await client.get("/v1/recommendations", params=params), 422)["detail"]
    exposed = await client.get("/v1/recommendations/sales-eu/C-1/exposed", params={"cursor": cursor})
    assert "cursor" in _problem(exposed, 422)["detail"]
    async with client_for(services, await services.keys.create("fabrikam", "x", ALL_ROLES)) as other:
        _problem(await other.get("/v1/recommendations", params={"cursor": cursor}), 422)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"outcome": "BAD"}, "'PASS', 'PARTIAL', 'FAIL', 'NOT_APPLICABLE' or 'UNKNOWN'"),
        ({"product": "workday"}, "'salesforce' or 'servicenow'"),
        ({"status": "done"}, "'to_address'"),
        ({"limit": "0"}, "greater than or equal to 1"),
        ({"limit": "501"}, "less than or equal to 500"),
        ({"limit": "many"}, "valid integer"),
        ({"instance": "no/slash"}, "pattern"),
        ({"colour": "red"}, "category, control, counts, cursor, framework, instance"),
    ],
)
async def test_a_bad_query_says_what_is_allowed(
    client: httpx.AsyncClient, served: None, params: dict[str, str], told: str
) -> None:
    problem = _problem(await client.get("/v1/recommendations", params=params), 422)
    assert told in problem["errors"][0]["message"]
    assert problem["errors"][0]["at"].startswith(f"query.{next(iter(params))}")


async def test_a_parameter_where_there_is_none_is_refused(client: httpx.AsyncClient, served: None) -> None:
    for path in ("/v1/secure-score", "/v1/products", "/v1/instances", "/v1/instances/sales-eu"):
        problem = _problem(await client.get(path, params={"verbose": "1"}), 422)
        assert "no parameters" in problem["errors"][0]["message"]


async def test_a_recommendation_says_what_why_and_how(client: httpx.AsyncClient, served: None) -> None:
    found = await _get(client, "/v1/recommendations/sales-eu/C-1")
    assert found["implementation_steps"] == found["remediation"]["steps"] == ["Open Setup.", "Change it."]
    assert (found["description"], found["rank"], found["exposed"]) == ("What is judged.", 1, 2)
    assert [entity["name"] for entity in found["exposed_entities"]["items"]] == [
        "user0@contoso.example", "user1@contoso.example"
    ]  # fmt: skip
    assert {other["instance"] for other in found["other_instances"]} == {"itsm", "sales-us"}
    assert {"evidence", "expected", "observed", "permissions", "frameworks"} <= found.keys()


async def test_a_control_is_found_by_its_alias(client: httpx.AsyncClient, served: None) -> None:
    assert await _get(client, "/v1/recommendations/sales-eu/MDA_C-1") == await _get(
        client, "/v1/recommendations/sales-eu/C-1"
    )


@pytest.mark.parametrize(
    "path",
    [
        "/v1/instances/nobody", "/v1/recommendations/nobody/C-1", "/v1/recommendations/sales-eu/C-9",
        "/v1/recommendations/sales-eu/C-9/exposed", "/v1/nothing", "/metrics", "/docs",
    ],
)  # fmt: skip
async def test_what_is_not_there_is_404(client: httpx.AsyncClient, served: None, path: str) -> None:
    _problem(await client.get(path), 404)


async def test_a_product_without_instances_is_404_and_an_unknown_one_422(client: httpx.AsyncClient) -> None:
    assert "No instance of salesforce" in _problem(await client.get("/v1/products/salesforce"), 404)["detail"]
    assert "'salesforce' or 'servicenow'" in str(_problem(await client.get("/v1/products/workday"), 422)["errors"])


async def test_a_wrong_method_is_405_and_says_which_are_allowed(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/v1/secure-score")
    _problem(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD"


# --- conditional answers, limits, failures


async def test_a_known_etag_is_answered_304_until_something_changes(
    client: httpx.AsyncClient, served: None, projection: ProjectionService
) -> None:
    first = await client.get("/v1/secure-score")
    known = {"If-None-Match": f'"other", W/{first.headers["etag"]}'}
    again = await client.get("/v1/secure-score", headers=known)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    for part in Judged(9, [result("C-1")]).parts():
        await projection.take_part(part)
    assert (await client.get("/v1/secure-score", headers=known)).status_code == 200


async def test_head_is_get_without_the_body(client: httpx.AsyncClient, served: None) -> None:
    got, head = await client.get("/v1/secure-score"), await client.head("/v1/secure-score")
    assert head.status_code == 200
    assert {name: head.headers[name] for name in ("etag", "content-length")} == {
        name: got.headers[name] for name in ("etag", "content-length")
    }


async def test_answers_carry_careful_headers(client: httpx.AsyncClient, anonymous: httpx.AsyncClient) -> None:
    for answer in (await client.get("/v1/products"), await anonymous.get("/v1/products"), await client.get("/nope")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "no-" in answer.headers["cache-control"]
        assert "server" not in answer.headers


async def _chunks() -> Any:
    yield b'{"insights":'
    yield b'"on"}'


@pytest.mark.parametrize(
    "sent",
    [
        {"content": b" " * 70_000},
        {"content": b"{}", "headers": {"Content-Length": "1000000000000"}},
        {"content": b"{}", "headers": {"Content-Length": "-1"}},
        {"content": b"{}", "headers": {"Transfer-Encoding": "chunked"}},
    ],
)
async def test_a_body_is_bounded(client: httpx.AsyncClient, served: None, sent: dict[str, Any]) -> None:
    answer = await client.put("/v1/instances/sales-us/insights", **sent)
    assert "65536" in _problem(answer, 413)["detail"]


async def test_a_bug_answers_500_with_a_trace_id_and_no_detail(
    client: httpx.AsyncClient, database: Database, served: None
) -> None:
    await database["pictures"].update_many({}, {"$set": {"body": "broken: secret-in-the-data"}})
    before = _requests("/v1/secure-score", "500")
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = await client.get("/v1/secure-score", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    problem = _problem(answer, 500)
    assert problem["trace_id"] == trace
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert _requests("/v1/secure-score", "500") == before + 1
    own = _problem(await client.get("/v1/secure-score"), 500)["trace_id"]
    assert len(own) == 32
    assert own != trace


def _requests(route: str, status_code: str) -> float:
    labels = {"route": route, "status": status_code}
    return REGISTRY.get_sample_value("plumbline_score_api_requests_total", labels) or 0.0


async def test_a_scan_that_the_broker_does_not_take_is_503(
    client: httpx.AsyncClient, services: Services, served: None
) -> None:
    async def refuse(_: CollectionRequest) -> None:
        raise UnavailableError("The broker is not connected; nothing was asked for. Try again.")

    services.instances._ask = refuse
    assert "Try again" in _problem(await client.post("/v1/instances/sales-eu/scan"), 503)["detail"]


class _Away:
    """A repository of keys or instances whose database is away."""

    async def find(self, *_: Any) -> None:
        raise AutoReconnect("connection closed")

    revisions = find


async def test_a_database_that_is_away_is_503(client: httpx.AsyncClient, services: Services, served: None) -> None:
    away: Any = _Away()
    services.scores._pictures._decisions = away
    assert "try again" in _problem(await client.get("/v1/secure-score"), 503)["detail"]
    services.keys._repository = away
    assert "try again" in _problem(await client.get("/v1/instances"), 503)["detail"]


# --- size


async def test_a_hundred_instances_are_answered_with_a_bounded_number_of_queries(
    client: httpx.AsyncClient, projection: ProjectionService, database: Database
) -> None:
    controls = [f"K-{n}" for n in range(61)]
    await projection.take_definitions([definition(control) for control in controls])
    judged = [result(control, Outcome.FAIL if n % 3 else Outcome.PASS) for n, control in enumerate(controls)]
    await projection.take_status(status("i000"))
    for part in Judged(1, judged, instance="i000").parts():
        await projection.take_part(part)
    await _copy(database, [f"i{number:03d}" for number in range(1, 100)])
    paths = ("/v1/secure-score", "/v1/products/salesforce", "/v1/instances", "/v1/recommendations?limit=500")
    for path in (*paths, "/v1/recommendations/i050/K-1"):
        before = COMMANDS.count
        (await client.get(path)).raise_for_status()
        assert COMMANDS.count - before <= 12, path
    assert (await _get(client, "/v1/recommendations"))["total"] == 6100
    detail = await _get(client, "/v1/recommendations/i050/K-1")
    assert len(detail["other_instances"]) == 99


async def _copy(database: Database, instances: list[str]) -> None:
    """Other instances that look as i000 does, each with an evaluation of its own."""
    original = await database["instances"].find_one({"instance": "i000"})
    assert original is not None
    key = original["current"]["key"]
    findings = [document async for document in database["findings"].find({"instance": "i000"})]
    pictures = [document async for document in database["pictures"].find({"instance": "i000"})]
    for name, documents in (("instances", [original]), ("findings", findings), ("pictures", pictures)):
        copies = [_renamed(d, {"i000": new, key: f"{key}-{new}"}) for d in documents for new in instances]
        await database[name].insert_many(copies)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """A document with other names in it."""
    if isinstance(value, dict):
        return {name: _renamed(each, names) for name, each in value.items()}
    if isinstance(value, str):
        for old, new in names.items():
            value = value.replace(old, new)
    return value
