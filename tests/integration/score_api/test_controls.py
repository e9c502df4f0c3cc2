"""The catalogue over the API, with what it finds in one tenant, and frameworks with what nothing covers."""

from typing import Any

import httpx
import pytest
from plumbline_contracts.events import Outcome, Product, Severity, UnknownReason
from plumbline_score_api.app import Database
from plumbline_score_api.controls.repository import ControlRepository
from plumbline_score_api.controls.service import FRESH_SECONDS, CatalogueService
from plumbline_score_api.problems import MEDIA_TYPE
from plumbline_score_api.projection.service import ProjectionService
from plumbline_score_api.services import Services

from tests.integration.score_api.events import Judged, definition, result, status
from tests.integration.score_api.in_process import ALL_ROLES, client_for

ALL = ["C-1", "C-2", "C-3", "C-4", "C-5", "SN-1"]


@pytest.fixture
async def served(projection: ProjectionService) -> None:
    """Two instances of Salesforce that count, and a catalogue with controls that nothing is judged by."""
    await projection.take_definitions(
        [
            definition("C-1", digest="d2", generation=2, frameworks={"soc2": ["CC6.1", "CC6.2"]}, title="Require MFA"),
            definition("C-1", digest="d1", generation=2, status="retired"),
            definition("C-2", digest="d1", generation=2, frameworks={"soc2": ["CC6.1"]}, category="Apps"),
            definition("C-3", digest="d1", generation=2, frameworks={"soc2": ["CC6.3", "CC6.4"]}),
            definition("C-4", generation=2, frameworks={"soc2": ["CC6.5"], "iso": ["A.1"]}),
            definition("C-5", generation=2, status="manual", manual_reason="No API tells it.", severity=Severity.LOW),
            definition("C-6", generation=2, status="retired", frameworks={"soc2": ["CC9.9"]}),
            definition("SN-1", generation=2, product=Product.SERVICENOW, frameworks={"soc2": ["CC7.1"]}),
        ]
    )
    for name in ("sales-eu", "sales-us"):
        await projection.take_status(status(name))
    unknown = result("C-3", Outcome.UNKNOWN, reason=UnknownReason.MISSING_PERMISSION)
    judged = (
        Judged(1, [result("C-1", Outcome.FAIL, exposed=2, digest="d2"), result("C-2"), unknown]),
        Judged(1, [result("C-1", digest="d1"), result("C-2")], instance="sales-us"),
        Judged(1, [result("C-1", Outcome.FAIL, digest="d2")], tenant="fabrikam"),
    )
    for evaluation in judged:
        for part in evaluation.parts():
            await projection.take_part(part)


async def _get(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    return (await client.get(path, params=params)).raise_for_status().json()


async def test_the_catalogue_is_paged(client: httpx.AsyncClient, served: None) -> None:
    names: list[str] = []
    cursor = None
    while True:
        page = await _get(client, "/v1/controls", limit=4, **({"cursor": cursor} if cursor else {}))
        assert page["total"] == len(ALL)
        names += [each["control_id"] for each in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert names == ALL


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"product": "servicenow"}, ["SN-1"]), ({"status": "retired"}, ["C-6"]), ({"status": "manual"}, ["C-5"]),
        ({"framework": "iso"}, ["C-4"]), ({"requirement": ["CC6.1"]}, ["C-1", "C-2"]), ({"text": "mfa"}, ["C-1"]),
        ({"category": "Apps"}, ["C-2"]), ({"severity": "low"}, ["C-5"]), ({"text": '{"$gt": ""}'}, []),
    ],
)  # fmt: skip
async def test_controls_are_filtered(
    client: httpx.AsyncClient, served: None, params: dict[str, str], expected: list[str]
) -> None:
    assert [each["control_id"] for each in (await _get(client, "/v1/controls", **params))["items"]] == expected


async def test_one_control_by_id_or_alias_with_its_instances(client: httpx.AsyncClient, served: None) -> None:
    found = await _get(client, "/v1/controls/C-1")
    assert await _get(client, "/v1/controls/MDA_C-1") == found
    assert (found["digest"], found["title"], found["status"]) == ("d2", "Require MFA", "active")
    assert found["implementation_steps"] == ["Open Setup.", "Change it."]
    assert found["permissions"] == ["View Setup and Configuration"]
    assert found["outcomes"] == {"FAIL": 1, "PASS": 1}
    assert [(each["instance"], each["outcome"], each["exposed"], each["digest"]) for each in found["instances"]] == [
        ("sales-eu", "FAIL", 2, "d2"), ("sales-us", "PASS", 0, "d1"),
    ]  # fmt: skip
    manual = await _get(client, "/v1/controls/C-5")
    assert (manual["manual_reason"], manual["instances"], manual["outcomes"]) == ("No API tells it.", [], {})
    assert (await _get(client, "/v1/controls/C-6"))["status"] == "retired"


async def test_another_tenant_sees_the_same_catalogue_and_its_own_outcomes(services: Services, served: None) -> None:
    async with client_for(services, await services.keys.create("fabrikam", "tests", ALL_ROLES)) as client:
        assert (await _get(client, "/v1/controls"))["total"] == len(ALL)
        assert [each["instance"] for each in (await _get(client, "/v1/controls/C-1"))["instances"]] == ["sales-eu"]
        assert (await _get(client, "/v1/controls/C-2"))["instances"] == []
    async with client_for(services, await services.keys.create("nobody", "tests", ALL_ROLES)) as client:
        assert (await _get(client, "/v1/controls/C-1"))["outcomes"] == {}
        states = (await _get(client, "/v1/frameworks/soc2"))["states"]
        assert states == {"not_covered": 6}


async def test_a_framework_says_how_each_requirement_stands(client: httpx.AsyncClient, served: None) -> None:
    await client.put("/v1/instances/sales-us/insights", json={"insights": "on"})
    soc2 = await _get(client, "/v1/frameworks/soc2")
    assert [(each["requirement"], each["state"], each["controls"]) for each in soc2["requirements"]] == [
        ("CC6.1", "failed", ["C-1", "C-2"]), ("CC6.2", "failed", ["C-1"]), ("CC6.3", "unknown", ["C-3"]),
        ("CC6.4", "unknown", ["C-3"]), ("CC6.5", "not_covered", ["C-4"]), ("CC7.1", "not_covered", ["SN-1"]),
    ]  # fmt: skip
    assert soc2["states"] == {"failed": 2, "not_covered": 2, "unknown": 2}
    of_us = await _get(client, "/v1/frameworks/soc2", instance="sales-us")
    assert {each["requirement"]: each["state"] for each in of_us["requirements"]} == {
        "CC6.1": "passed", "CC6.3": "not_covered", "CC6.2": "not_covered", "CC6.4": "not_covered",
        "CC6.5": "not_covered",
    }  # fmt: skip
    of_servicenow = await _get(client, "/v1/frameworks/soc2", product="servicenow")
    assert [each["requirement"] for each in of_servicenow["requirements"]] == ["CC7.1"]
    assert [each["framework"] for each in (await _get(client, "/v1/frameworks"))["items"]] == ["iso", "soc2"]
    assert [each["framework"] for each in (await _get(client, "/v1/frameworks", product="servicenow"))["items"]] == [
        "soc2"
    ]


@pytest.mark.parametrize(
    ("path", "params", "status_code"),
    [
        ("/v1/controls/X-9", {}, 404), ("/v1/controls/a%20b", {}, 422), ("/v1/controls", {"cursor": "x"}, 422),
        ("/v1/controls", {"limit": "501"}, 422), ("/v1/controls", {"status": "new"}, 422),
        ("/v1/controls/C-1", {"x": "1"}, 422), ("/v1/frameworks/nothing", {}, 404),
        ("/v1/frameworks/iso", {"product": "servicenow"}, 404),
    ],
)  # fmt: skip
async def test_a_wrong_question_is_a_problem(
    client: httpx.AsyncClient, served: None, path: str, params: dict[str, str], status_code: int
) -> None:
    answer = await client.get(path, params=params)
    assert (answer.status_code, answer.headers["content-type"]) == (status_code, MEDIA_TYPE), answer.text


async def test_a_cursor_belongs_to_its_filters(client: httpx.AsyncClient, served: None) -> None:
    cursor = (await _get(client, "/v1/controls", limit=1))["next_cursor"]
    answer = await client.get("/v1/controls", params={"limit": 1, "cursor": cursor, "category": "Apps"})
    assert answer.status_code == 422


async def test_a_new_generation_is_seen_after_some_seconds(database: Database, projection: ProjectionService) -> None:
    now = [0.0]
    catalogue = CatalogueService(ControlRepository(database), lambda: now[0])
    first = await catalogue.now()
    assert await catalogue.now() is first
    await projection.take_definitions([definition("C-1", generation=5, title="New")])
    assert (await catalogue.now()) is first
    now[0] += FRESH_SECONDS
    found = (await catalogue.now()).find("C-1")
    assert found is not None
    assert found.title == "New"


async def test_the_oscal_document_is_of_the_instance_and_the_same_twice(
    client: httpx.AsyncClient, served: None
) -> None:
    one, two = [await client.get("/v1/instances/sales-eu/oscal") for _ in range(2)]
    assert one.json() == two.json()
    assert one.headers["etag"] == two.headers["etag"]
    assert one.headers["content-disposition"] == (
        'attachment; filename="plumbline-contoso-sales-eu-oscal-assessment-results.json"'
    )
    (found,) = one.json()["assessment-results"]["results"]
    assert [each["title"] for each in found["observations"]] == ["Require MFA", "Title of C-2", "Title of C-3"]


async def test_an_instance_that_is_not_evaluated_has_no_oscal_document(
    client: httpx.AsyncClient, projection: ProjectionService
) -> None:
    await projection.take_status(status("fresh"))
    for name in ("fresh", "nobody"):
        assert (await client.get(f"/v1/instances/{name}/oscal")).status_code == 404
