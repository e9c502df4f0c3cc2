"""Problems as errors of Graph."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from plumbline_score_api import problems, protocol
from plumbline_score_api.graph import errors
from plumbline_score_api.graph.errors import error_of
from plumbline_score_api.graph.schemas import GraphError
from plumbline_score_api.problems import MEDIA_TYPE, TooManyError, problem
from starlette.types import ASGIApp

HEADERS = {"request-id": "r", "client-request-id": "c"}


@pytest.mark.parametrize(
    ("status", "shown", "code"),
    [
        (400, 400, "BadRequest"), (401, 401, "InvalidAuthenticationToken"), (403, 403, "Forbidden"),
        (404, 404, "ResourceNotFound"), (405, 405, "MethodNotAllowed"), (409, 409, "Conflict"),
        (413, 413, "RequestEntityTooLarge"), (422, 400, "BadRequest"), (429, 429, "TooManyRequests"),
        (500, 500, "InternalServerError"), (503, 503, "ServiceUnavailable"), (415, 415, "UnsupportedMediaType"),
    ],
)  # fmt: skip
def test_every_status_has_a_code(status: int, shown: int, code: str) -> None:
    found, body = error_of({"detail": "why"}, status, HEADERS)
    assert (found, body["error"]["code"], body["error"]["message"]) == (shown, code, "why")
    GraphError.model_validate(body)


def test_values_that_are_wrong_are_named() -> None:
    wrong = [{"at": "query.$top", "message": "too small"}, {"at": "body", "message": "no object"}]
    _, body = error_of({"detail": "see errors", "errors": wrong}, 422, HEADERS)
    assert body["error"]["message"] == "$top: too small; body: no object"
    assert body["error"]["details"][0] == {"code": "BadRequest", "message": "too small", "target": "$top"}


def _client(app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://score-api")


async def _get(app: ASGIApp, path: str, **headers: str) -> httpx.Response:
    async with _client(app) as client:
        return await client.get(path, headers=headers)


async def test_headers_stay_and_other_paths_are_left_alone() -> None:
    busy = problems.answer(TooManyError("Slower.", 7))
    answer = await _get(errors.GraphErrors(busy), "/graph/v1.0/x", **{"Client-Request-Id": "abc-1"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["client-request-id"] == answer.json()["error"]["innerError"]["client-request-id"] == "abc-1"
    assert answer.headers["request-id"] == answer.json()["error"]["innerError"]["request-id"]
    for path in ("/v1/x", "/graphs", "/"):
        assert (await _get(errors.GraphErrors(busy), path)).headers["content-type"] == MEDIA_TYPE


async def test_the_refusal_of_a_full_replica_has_the_shape_of_its_route() -> None:
    refuse = protocol._refusal()
    answer = await _get(refuse, "/graph/v1.0/security/secureScores")
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
    assert GraphError.model_validate(answer.json()).error.code == "ServiceUnavailable"
    assert (await _get(refuse, "/v1/products")).headers["content-type"] == MEDIA_TYPE


async def test_a_client_s_number_that_is_none_is_not_echoed() -> None:
    for sent in ("x" * 65, "a b", "<x>"):
        answer = await _get(errors.GraphErrors(problem(404, "no")), "/graph", **{"client-request-id": sent})
        assert answer.headers["client-request-id"] == answer.headers["request-id"]


async def test_a_bug_is_an_error_of_graph_on_its_routes_alone() -> None:
    app = FastAPI()
    problems.install(app)

    @app.middleware("http")
    async def trace(request: Any, call_next: Any) -> Any:
        request.state.trace_id = "0123456789abcdef0123456789abcdef"
        return await call_next(request)

    errors.install(app)

    @app.get("/{path:path}")
    async def fail(path: str) -> None:
        raise RuntimeError(path)

    answer = await _get(app, "/graph/v1.0/x")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (500, "InternalServerError")
    assert error["innerError"]["request-id"] == "01234567-89ab-cdef-0123-456789abcdef" == answer.headers["request-id"]
    assert answer.headers["content-security-policy"]
    assert (await _get(app, "/v1/x")).json()["trace_id"] == "0123456789abcdef0123456789abcdef"
