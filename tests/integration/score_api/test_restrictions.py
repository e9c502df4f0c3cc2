"""Keys that see some instances of their tenant: to them the others are not there, on any route."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from plumbline_contracts.events import CollectionRequest, Outcome, Product
from plumbline_score_api import app as composition
from plumbline_score_api.app import Database
from plumbline_score_api.keys.schemas import Restriction, Role
from plumbline_score_api.services import Services
from plumbline_score_api.settings import Settings

from tests.integration.score_api.asking import BODIES, Operation, operations
from tests.integration.score_api.events import Judged, definition, result, status
from tests.integration.score_api.in_process import ALL_ROLES, CONTROLS, client_for, projection_into
from tests.integration.score_api.test_access import _told

OPERATIONS = {operation.name: operation for operation in operations()}
ROLES = ALL_ROLES - {Role.KEYS}
MINE = Restriction(instances=frozenset({"sales-eu"}))
CLOSED = {
    "listAudit", "listKeys", "createKey", "getKey", "revokeKey",
    "listStatusTemplates", "getStatusTemplate", "setStatusTemplate", "clearStatusTemplate",
    "getZones", "setZones", "clearZones", "listControls", "getControl", "streamEvents",
    "listFindingEvents",
    "listWebhooks", "createWebhook", "getWebhook", "updateWebhook", "deleteWebhook", "rotateWebhookSecret",
    "testWebhook", "listWebhookDeliveries", "getWebhookDelivery", "redeliverWebhook",
    "listGraphSecureScores", "countGraphSecureScores", "getGraphSecureScore",
    "listGraphControlProfiles", "countGraphControlProfiles", "getGraphControlProfile", "updateGraphControlProfile",
    "exportRecommendations", "exportExposedEntities", "exportHistory", "exportHistoryChanges", "exportAudit",
    "disconnectInstance", "compareWithPeers",
}  # fmt: skip
"""Operations about the tenant as a whole. A new one that is neither here nor keeps to the restriction fails below."""
OTHERS = ("support-us", "itsm")


async def _nobody(_: CollectionRequest) -> None:
    """Nobody collects."""


async def _judged(database: Database, instance: str, product: Product, number: int = 1) -> None:
    projection = projection_into(database)
    await projection.take_status(status(instance).model_copy(update={"product": product}))
    for part in Judged(number, [result("C-1", Outcome.FAIL, exposed=1)], instance=instance, product=product).parts():
        await projection.take_part(part)


@dataclass(frozen=True)
class World:
    """A database, its services, and a client whose key sees sales-eu alone."""

    database: Database
    services: Services
    client: httpx.AsyncClient

    async def of_others(self) -> dict[str, list[str]]:
        """All that is stored of the other instances."""
        names = await self.database.list_collection_names()
        return {
            name: sorted([repr(d) async for d in self.database[name].find({}) if d.get("instance") in OTHERS])
            for name in names
        }


async def _world(url: str, *others: str) -> AsyncIterator[World]:
    async with composition.open_database(Settings.model_validate({"PLUMBLINE_MONGODB_URL": url})) as database:
        await composition.prepare(database)
        frameworks = {"cis_v8": ["5.3"]}
        await projection_into(database).take_definitions([definition(each, frameworks=frameworks) for each in CONTROLS])
        await _judged(database, "sales-eu", Product.SALESFORCE)
        for name in others:
            await _judged(database, name, Product.SERVICENOW if name == "itsm" else Product.SALESFORCE)
        services = composition.build_services(database, _nobody)
        key = await services.keys.create("contoso", "restricted", ROLES, restriction=MINE)
        async with client_for(services, key) as client:
            yield World(database, services, client)


@pytest.fixture
async def alone(mongodb_url: str) -> AsyncIterator[World]:
    """A tenant that has sales-eu alone."""
    async for world in _world(f"{mongodb_url}a"):
        yield world


@pytest.fixture
async def among_others(mongodb_url: str) -> AsyncIterator[World]:
    """The same with other instances of both products."""
    async for world in _world(f"{mongodb_url}b", *OTHERS):
        yield world


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
async def test_on_every_route_the_others_are_not_there(alone: World, among_others: World, operation: Operation) -> None:
    before = await among_others.of_others()
    answers = [await operation.send(world.client) for world in (alone, among_others)]
    assert (answers[0].status_code == 403) == (operation.name in CLOSED | _BEYOND), operation.name
    assert answers[0].status_code < 500
    assert _told(answers[0]) == _told(answers[1])
    assert not any(name in answers[1].text for name in OTHERS)
    assert await among_others.of_others() == before, "nothing of the others is changed"


_BEYOND = {"setInsights", "listHistory", "compareHistory", "getTrends"}
"""What these ask for in the walk (main, the whole tenant) is more than the key may."""


def _elsewhere(path: str) -> str:
    return path.replace("sales-eu", "support-us")


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS.values() if "{instance}" in each.template], ids=lambda each: each.name
)
async def test_another_instance_is_as_good_as_none(alone: World, among_others: World, operation: Operation) -> None:
    for world in (alone, among_others):
        answer = await world.client.request(
            operation.method, _elsewhere(operation.path), params=operation.query, json=_weak(operation)
        )
        assert answer.status_code == 404, operation.name


def _weak(operation: Operation) -> Any:
    return {"insights": "on"} if operation.name == "setInsights" else operation.body


async def test_lists_scores_and_history_are_of_what_the_key_sees(among_others: World) -> None:
    client = among_others.client
    score = (await client.get("/v1/secure-score")).json()
    assert score["max"] == 3
    assert [each["counted_instances"] for each in score["products"]] == [["sales-eu"]]
    assert [each["instance"] for each in (await client.get("/v1/instances")).json()["items"]] == ["sales-eu"]
    page = (await client.get("/v1/recommendations", params={"counts": True})).json()
    assert (page["total"], page["counts"]["instance"]) == (1, {"sales-eu": 1})
    assert (await client.get("/v1/recommendations/sales-eu/C-1")).json()["other_instances"] == []
    assert (await client.get("/v1/history", params={"instance": "sales-eu"})).status_code == 200
    assert (await client.get("/v1/history", params={"instance": "itsm"})).status_code == 404
    assert (await client.get("/v1/history", params={"product": "salesforce"})).status_code == 403
    assert (await client.get("/v1/products/servicenow")).status_code == 404


async def test_it_decides_for_what_it_sees_alone(among_others: World) -> None:
    client, before = among_others.client, await among_others.of_others()
    everything = await client.post("/v1/recommendations/statuses", json=BODIES["setStatuses"])
    assert [each["instance"] for each in everything.json()["items"]] == ["sales-eu"]
    named = {"status": "risk_accepted", "items": [{"instance": "itsm", "control": "C-1"}]}
    answer = (await client.post("/v1/recommendations/statuses", json=named)).json()
    assert [each["result"] for each in answer["items"]] == ["not_found"]
    assert (await client.put("/v1/instances/sales-eu/insights", json={"insights": "main"})).status_code == 403
    assert await among_others.of_others() == before


async def test_a_product_s_key_sees_its_instances_those_that_come_later_too(among_others: World) -> None:
    restriction = Restriction(products=frozenset({Product.SERVICENOW}))
    key = await among_others.services.keys.create("contoso", "itsm", ROLES, restriction=restriction)
    async with client_for(among_others.services, key) as client:
        assert await _names(client) == ["itsm"]
        await _judged(among_others.database, "itsm-2", Product.SERVICENOW)
        assert await _names(client) == ["itsm", "itsm-2"]
        assert (await client.get("/v1/recommendations/sales-eu/C-1")).status_code == 404


async def _names(client: httpx.AsyncClient) -> list[str]:
    return [each["instance"] for each in (await client.get("/v1/instances")).json()["items"]]


async def test_a_restriction_is_asked_for_kept_shown_and_told(among_others: World) -> None:
    manager = await among_others.services.keys.create("contoso", "manager", ALL_ROLES)
    async with client_for(among_others.services, manager) as client:
        wanted = {"name": "siem", "roles": ["SecureScore.Read"], "restriction": {"instances": ["support-us", "itsm"]}}
        made = (await client.post("/v1/keys", json=wanted)).json()
        assert made["restriction"] == {"instances": ["itsm", "support-us"], "products": None}
        listed = (await client.get("/v1/keys")).json()["items"]
        assert {each["name"]: each["restriction"] for each in listed} == {
            "siem": made["restriction"],
            "manager": None,
            "restricted": {"instances": ["sales-eu"], "products": None},
        }
        told = (await client.get("/v1/audit", params={"action": "key_created"})).json()["items"][0]["detail"]
        assert told.endswith("siem: SecureScore.Read; instances itsm, support-us")
    async with client_for(among_others.services, made["key"]) as client:
        assert await _names(client) == ["itsm", "support-us"]


@pytest.mark.parametrize(
    "restriction",
    [{}, {"instances": []}, {"products": []}, {"instances": ["a b"]}, {"products": ["jira"]}, {"tenant": "x"}, "all"],
)
async def test_a_restriction_that_restricts_nothing_is_refused(among_others: World, restriction: Any) -> None:
    manager = await among_others.services.keys.create("contoso", "manager", ALL_ROLES)
    async with client_for(among_others.services, manager) as client:
        body = {"name": "x", "roles": ["SecureScore.Read"], "restriction": restriction}
        assert (await client.post("/v1/keys", json=body)).status_code == 422


async def test_a_restricted_key_makes_no_keys(among_others: World) -> None:
    manager = await among_others.services.keys.create("contoso", "manager", ALL_ROLES)
    async with client_for(among_others.services, manager) as client:
        body = {"name": "x", "roles": ["Keys.Manage"], "restriction": {"instances": ["sales-eu"]}}
        answer = await client.post("/v1/keys", json=body)
    assert answer.status_code == 422
    assert "could make one without" in answer.json()["detail"]
