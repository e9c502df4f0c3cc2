"""Without a key nothing, with another tenant's key nothing of ours, without a role nothing of that role."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from plumbline_contracts.events import CollectionRequest, Outcome
from plumbline_score_api import app as composition
from plumbline_score_api.app import Database
from plumbline_score_api.keys.schemas import Role
from plumbline_score_api.problems import MEDIA_TYPE
from plumbline_score_api.projection.service import ProjectionService
from plumbline_score_api.services import Services

from tests.integration.score_api.events import Judged, result, status
from tests.integration.score_api.in_process import ALL_ROLES, client_for

FILLED = {"product": "salesforce", "instance": "sales-eu", "control": "C-1"}
BODIES: dict[str, Any] = {"setInsights": {"insights": "off"}}
NEED_MANAGER = {"scanInstance", "setInsights"}


def _document() -> dict[str, Any]:
    """The OpenAPI document. Building it needs no database."""
    nothing: Any = None
    app = composition.create_app(composition.build_services(_Nowhere(), nothing), nothing)  # type: ignore[arg-type]
    return app.openapi()


class _Nowhere:
    def __getitem__(self, name: str) -> None:
        return None


OPERATIONS = [
    pytest.param(method.upper(), re.sub(r"{(\w+)}", lambda found: FILLED[found[1]], path), operation, id=name)
    for path, item in _document()["paths"].items()
    for method, operation in item.items()
    if (name := operation["operationId"])
]
every_operation = pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)


@pytest.fixture
async def served(projection: ProjectionService) -> None:
    """Instance sales-eu of contoso with a failing control and an exposed entity."""
    await projection.take_status(status())
    for part in Judged(1, [result("C-1", Outcome.FAIL, exposed=1)]).parts():
        await projection.take_part(part)


def _is_problem(answer: httpx.Response, status: int) -> bool:
    body = answer.json()
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert (answer.status_code, body["status"], body["type"]) == (status, status, "about:blank")
    assert body["title"]
    assert body["detail"]
    return True


async def _send(client: httpx.AsyncClient, method: str, path: str, operation: dict[str, Any]) -> httpx.Response:
    return await client.request(method, path, json=BODIES.get(operation["operationId"]))


def test_the_document_knows_every_route_of_the_issue() -> None:
    found = {(param.values[0], param.values[1]) for param in OPERATIONS}
    assert found == {
        ("GET", "/v1/secure-score"),
        ("GET", "/v1/products"),
        ("GET", "/v1/products/salesforce"),
        ("GET", "/v1/instances"),
        ("GET", "/v1/instances/sales-eu"),
        ("POST", "/v1/instances/sales-eu/scan"),
        ("PUT", "/v1/instances/sales-eu/insights"),
        ("GET", "/v1/recommendations"),
        ("GET", "/v1/recommendations/sales-eu/C-1"),
        ("GET", "/v1/recommendations/sales-eu/C-1/exposed"),
    }


@every_operation
async def test_anonymous_gets_401(
    anonymous: httpx.AsyncClient, served: None, method: str, path: str, operation: dict[str, Any]
) -> None:
    answer = await _send(anonymous, method, path, operation)
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


@every_operation
async def test_another_tenant_sees_nothing(
    services: Services,
    served: None,
    asked: list[CollectionRequest],
    database: Database,
    method: str,
    path: str,
    operation: dict[str, Any],
) -> None:
    before = [document async for document in database["insights"].find({})]
    async with client_for(services, await services.keys.create("fabrikam", "tests", ALL_ROLES)) as other:
        answer = await _send(other, method, path, operation)
    if "{" in _template(operation):
        assert _is_problem(answer, 404)
    else:
        body = answer.json()
        assert body.get("items", body.get("products")) == []
        assert body.get("max", 0) == body.get("total", 0) == 0
    assert "C-1 is FAIL" not in answer.text
    assert asked == []
    assert [document async for document in database["insights"].find({})] == before


def _template(operation: dict[str, Any]) -> str:
    return "{" if any(parameter["in"] == "path" for parameter in operation.get("parameters", [])) else ""


@every_operation
async def test_roles_open_what_they_say(
    services: Services, served: None, asked: list[CollectionRequest], method: str, path: str, operation: dict[str, Any]
) -> None:
    wanted = {Role.INSTANCES} if operation["operationId"] in NEED_MANAGER else {Role.READ, Role.WRITE}
    for role in Role:
        async with client_for(services, await services.keys.create("contoso", role, frozenset({role}))) as client:
            answer = await _send(client, method, path, operation)
        if role in wanted:
            assert answer.status_code in (200, 202, 422), "422: the only instance has to stay main"
        else:
            assert _is_problem(answer, 403)
            assert any(name in answer.json()["detail"] for name in wanted)


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


async def test_the_document_asks_for_a_key_everywhere_and_describes_problems(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for item in document["paths"].values():
        for operation in item.values():
            for status_code in ("401", "403", "404", "422", "500", "503"):
                content = operation["responses"][status_code]["content"]
                assert content == {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert "detail" in document["components"]["schemas"]["Problem"]["properties"]
