"""Without a key nothing, with another tenant's key nothing of ours, without a role nothing of that role.

These tests walk over the routes of the application and the operations of its OpenAPI document: a new route is covered
when it is there.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from plumbline_contracts.events import CollectionRequest, Outcome
from plumbline_score_api import app as composition
from plumbline_score_api import guard
from plumbline_score_api.access import Requires
from plumbline_score_api.app import Database
from plumbline_score_api.graph.errors import is_graph
from plumbline_score_api.graph.schemas import GraphError
from plumbline_score_api.keys.repository import KeyRepository
from plumbline_score_api.keys.schemas import ApiKey, Role
from plumbline_score_api.problems import MEDIA_TYPE
from plumbline_score_api.services import Services
from plumbline_score_api.settings import Settings
from plumbline_score_api.webhooks.messages import MessageType
from plumbline_score_api.webhooks.repository import DeliveryRepository, WebhookRepository
from plumbline_score_api.webhooks.schemas import Delivery
from plumbline_score_api.webhooks.subscription import ConnectionUnhealthy, Events, Secret, Subscription

from tests.integration.score_api.asking import FILLED, PREPARING, Operation, bare_app, operations
from tests.integration.score_api.events import Judged, definition, result, status
from tests.integration.score_api.in_process import ALL_ROLES, CONTROLS, client_for, projection_into

FOR_ANY_CALLER = {"/openapi.json"}
OPERATIONS = {operation.name: operation for operation in operations()}
READING = [operation for operation in OPERATIONS.values() if operation.is_reading]
WRITING = [operation for operation in OPERATIONS.values() if not operation.is_reading]
every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
every_writing_operation = pytest.mark.parametrize("operation", WRITING, ids=[each.name for each in WRITING])


def _demanded(dependant: Dependant) -> set[Role]:
    """The roles of which a route demands one."""
    own = set(dependant.call.roles) if isinstance(dependant.call, Requires) else set()
    return own.union(*(_demanded(each) for each in dependant.dependencies))


ALL_ROUTES = [context.original_route for context in iter_route_contexts(bare_app().routes)]
ROUTES = [route for route in ALL_ROUTES if isinstance(route, APIRoute)]
ROLES = {route.operation_id: _demanded(route.dependant) for route in ROUTES}


def test_there_are_no_routes_of_another_kind() -> None:
    assert ROUTES == ALL_ROUTES
    assert {route.operation_id for route in ROUTES} >= OPERATIONS.keys()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{min(route.methods)} {route.path}")
def test_a_route_is_open_by_list_or_demands_a_role(route: APIRoute) -> None:
    demanded = _demanded(route.dependant)
    if route.path in guard.OPEN | FOR_ANY_CALLER:
        assert demanded == set()
    else:
        assert demanded
        assert route.operation_id in OPERATIONS, "the document knows it"
    if route.methods != {"GET"}:
        assert Role.READ not in demanded, "who may only read changes nothing"


def test_the_open_routes_are_those_of_the_probes() -> None:
    assert {"/healthz", "/readyz"} == guard.OPEN
    assert {route.path for route in ROUTES} >= guard.OPEN | FOR_ANY_CALLER


# --- what there is


async def _nobody(_: CollectionRequest) -> None:
    """Nobody collects."""


async def _fill(database: Database, *tenants: str) -> None:
    """Instance sales-eu of each tenant with a failing control, an exposed entity and a template, and a key."""
    await composition.prepare(database)
    projection = projection_into(database)
    frameworks = {FILLED["framework"]: ["5.3"]}
    await projection.take_definitions([definition(control, frameworks=frameworks) for control in CONTROLS])
    for tenant in tenants:
        await projection.take_status(status().model_copy(update={"tenant": tenant}))
        for part in Judged(1, [result("C-1", Outcome.FAIL, exposed=1)], tenant=tenant).parts():
            await projection.take_part(part)
        services = composition.build_services(database, _nobody)
        async with client_for(services, await services.keys.create(tenant, "operator", ALL_ROLES)) as client:
            for name in PREPARING:
                (await OPERATIONS[name].send(client)).raise_for_status()
    if "contoso" in tenants:
        now = datetime.now(UTC)
        key_id = FILLED["key_id"]
        key = ApiKey(key_id=key_id, secret_hash="", tenant="contoso", name="siem", roles=frozenset(), created_at=now)
        await KeyRepository(database).insert("contoso", key)
        await _subscribe(database, now)


async def _subscribe(database: Database, now: datetime) -> None:
    """A webhook of contoso with a delivery that is not due."""
    events, far = Events(connection_unhealthy=ConnectionUnhealthy()), now + timedelta(days=1)
    made = {"created_at": now, "created_by": "x", "changed_at": now, "changed_by": "x", "revision": 1}
    webhook = Subscription(
        webhook_id=FILLED["webhook_id"], name="SOC", url="https://hooks.contoso.example/", events=events, **made
    )
    await WebhookRepository(database).insert("contoso", webhook, Secret("whsec_c2VjcmV0"), {})
    delivery = Delivery(
        tenant="contoso", webhook_id=FILLED["webhook_id"], message_id=FILLED["delivery_id"], type=MessageType.TEST,
        body="{}", created_at=now, queued_at=now, due_at=far, keep_until=far,
    )  # fmt: skip
    await DeliveryRepository(database).enqueue("contoso", [delivery])


@pytest.fixture
async def served(database: Database) -> None:
    """What contoso has."""
    await _fill(database, "contoso")


def _is_problem(answer: httpx.Response, status_code: int) -> bool:
    body = answer.json()
    if is_graph(answer.request.url.path):
        assert answer.status_code == status_code
        return bool(GraphError.model_validate(body))
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert (answer.status_code, body["status"], body["type"]) == (status_code, status_code, "about:blank")
    assert body["title"]
    assert body["detail"]
    return True


@every_operation
async def test_the_requests_of_these_tests_are_good(
    client: httpx.AsyncClient, served: None, operation: Operation
) -> None:
    answer = await operation.send(client)
    assert answer.is_success, f"say in asking.py what makes a good request: {answer.text}"


# --- without a key


@every_operation
async def test_anonymous_gets_401(anonymous: httpx.AsyncClient, served: None, operation: Operation) -> None:
    answer = await operation.send(anonymous)
    assert _is_problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer plk_0123456789abcdef_" + "A" * 43,
        "Bearer x",
        "plk_x",
        "Bearer \xff",
    ],
)
async def test_a_wrong_key_gets_401(anonymous: httpx.AsyncClient, served: None, authorization: str) -> None:
    headers = [(b"Authorization", authorization.encode("latin-1"))]
    assert _is_problem(await anonymous.get("/v1/secure-score", headers=headers), 401)


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("GET", "/", ""), ("GET", "/v1", ""), ("GET", "/v1/nothing", ""), ("GET", "/metrics", ""), ("GET", "/docs", ""),
        ("GET", "/openapi.json", ""), ("DELETE", "/v1/secure-score", ""), ("GET", "/v1/products/unknown", ""),
        ("PUT", "/v1/instances/sales-eu/insights", "{broken"), ("GET", "/healthz/", ""), ("GET", "//healthz", ""),
        ("GET", "/v1/recommendations?outcome=nonsense", ""), ("OPTIONS", "/v1/secure-score", ""),
        ("HEAD", "/v1/products", ""),
    ],
)  # fmt: skip
async def test_what_does_not_exist_or_is_malformed_gets_401_without_a_key(
    anonymous: httpx.AsyncClient, method: str, path: str, content: str
) -> None:
    answer = await anonymous.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 401


async def test_health_alone_needs_no_key(anonymous: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await anonymous.get(path)
        assert (answer.status_code, answer.text) == (200, "ok\n")


# --- with another tenant's key


@dataclass(frozen=True)
class World:
    """A database, and what fabrikam's caller gets from it."""

    database: Database
    client: httpx.AsyncClient
    asked: list[CollectionRequest]

    async def of_others(self) -> dict[str, list[str]]:
        """All that is not fabrikam's, by collection."""
        names = await self.database.list_collection_names()
        return {
            name: sorted([repr(d) async for d in self.database[name].find({}) if d.get("tenant") != "fabrikam"])
            for name in names
        }


@pytest.fixture(params=[(), ("fabrikam",)], ids=["fabrikam has nothing", "fabrikam has an instance of the same name"])
async def worlds(request: pytest.FixtureRequest, mongodb_url: str) -> AsyncIterator[tuple[World, World]]:
    """Two databases that fabrikam must not be able to tell apart: in the first one contoso has something too."""
    made = []
    for name, tenants in (("a", ("contoso", *request.param)), ("b", request.param)):
        settings = Settings.model_validate({"PLUMBLINE_MONGODB_URL": f"{mongodb_url}{name}"})
        opened = composition.open_database(settings)
        database = await opened.__aenter__()
        await _fill(database, *tenants)
        asked: list[CollectionRequest] = []

        async def ask(wanted: CollectionRequest, asked: list[CollectionRequest] = asked) -> None:
            asked.append(wanted)

        services = composition.build_services(database, ask)
        client = client_for(services, await services.keys.create("fabrikam", "tests", ALL_ROLES))
        made.append((opened, World(database, client, asked)))
    yield made[0][1], made[1][1]
    for opened, world in made:
        await world.client.aclose()
        await opened.__aexit__(None, None, None)


_VOLATILE = re.compile(
    r"(?<=\nid: )[\w-]+|(?<=\"next_cursor\":\")[\w-]{108}(?=\",\"has_more\")"
    r"|plk_[0-9a-f]{16}_[\w-]{43}|whsec_[\w+/=]+|msg_[0-9a-f]{32}"
    r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,64}"
    r"|\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)?"
)


def _told(answer: httpx.Response) -> tuple[int, str]:
    """Status and body, without ids that are drawn and times that pass."""
    return answer.status_code, _VOLATILE.sub("*", answer.text)


async def test_another_tenant_sees_nothing(worlds: tuple[World, World]) -> None:
    with_contoso, without = worlds
    for operation in READING:
        answers = [await operation.send(world.client) for world in (with_contoso, without)]
        assert _told(answers[0]) == _told(answers[1]), operation.name
        assert answers[0].status_code in (200, 404), operation.name


@every_writing_operation
async def test_another_tenant_changes_nothing(worlds: tuple[World, World], operation: Operation) -> None:
    with_contoso, without = worlds
    before = await with_contoso.of_others()
    answers = [await operation.send(world.client) for world in worlds]
    assert _told(answers[0]) == _told(answers[1])
    assert await with_contoso.of_others() == before
    assert {request.tenant for world in worlds for request in world.asked} <= {"fabrikam"}
    assert len(with_contoso.asked) == len(without.asked)


# --- without a role


@every_operation
async def test_roles_open_what_they_say(services: Services, served: None, operation: Operation) -> None:
    for role in Role:
        async with client_for(services, await services.keys.create("contoso", role, frozenset({role}))) as client:
            answer = await operation.send(client)
        if role not in ROLES[operation.name]:
            assert _is_problem(answer, 403)
            assert any(name in answer.text for name in ROLES[operation.name])
        elif operation.name == "createKey" and answer.status_code == 403:
            assert "lacks" in answer.json()["detail"], "nobody gives what he does not have"
        else:
            assert answer.status_code not in (401, 403)
            assert answer.status_code < 500


async def test_an_ended_or_revoked_key_gets_401(services: Services, database: Database, served: None) -> None:
    ended = await services.keys.create("contoso", "ended", ALL_ROLES, expires_days=1)
    revoked = await services.keys.create("contoso", "revoked", ALL_ROLES)
    async with client_for(services, ended) as one, client_for(services, revoked) as other:
        for client in (one, other):
            assert (await client.get("/v1/products")).status_code == 200
        past = datetime.now(UTC) - timedelta(seconds=1)
        await database["keys"].update_one({"name": "ended"}, {"$set": {"expires_at": past}})
        await database["keys"].update_one({"name": "revoked"}, {"$set": {"revoked_at": past}})
        for client in (one, other):
            assert (await client.get("/v1/products")).status_code == 401


async def test_a_key_is_kept_as_a_hash_alone(services: Services, database: Database) -> None:
    key = await services.keys.create("contoso", "tests", ALL_ROLES)
    (document,) = [d async for d in database["keys"].find({})]
    secret = key.split("_", 2)[2]
    assert secret not in str(document)
    assert len(document["secret_hash"]) == 64


# --- what every answer says


@pytest.mark.parametrize(("path", "status_code"), [("/v1/products", 200), ("/v1/x", 404), ("/healthz", 200)])
async def test_every_answer_has_the_security_headers(client: httpx.AsyncClient, path: str, status_code: int) -> None:
    answer = await client.get(path)
    assert answer.status_code == status_code
    assert _has_security_headers(answer)


async def test_a_refusal_and_a_bug_have_them_too(
    client: httpx.AsyncClient, anonymous: httpx.AsyncClient, database: Database
) -> None:
    assert _has_security_headers(await anonymous.get("/v1/products"))
    await database["instances"].insert_one({"_id": "contoso/x", "tenant": "contoso"})
    answer = await client.get("/v1/instances")
    assert answer.status_code == 500
    assert _has_security_headers(answer)


def _has_security_headers(answer: httpx.Response) -> bool:
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"] in ("no-store", "private, no-cache")
    return True


async def test_the_document_that_is_served_is_the_one_of_the_routes(client: httpx.AsyncClient) -> None:
    served: dict[str, Any] = (await client.get("/openapi.json")).json()
    assert served == bare_app().openapi(), "what it says is held to in test_openapi.py"
    assert served["security"] == [{"key": []}, {"token": []}]
