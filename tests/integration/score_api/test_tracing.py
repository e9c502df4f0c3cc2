"""The trace of a request or record goes on to what is made of it."""

import httpx
import pytest
from opentelemetry import context
from plumbline_contracts import envelope, tracing
from plumbline_contracts.events import CollectionRequest
from plumbline_score_api.projection.service import ProjectionService

from tests.integration.score_api.events import Judged, definition, result, status

TRACE, OTHER = "0af7651916cd43dd8448eb211c80319c", "1bf7651916cd43dd8448eb211c80319c"


def _sent(trace: str) -> str:
    return f"00-{trace}-b7ad6b7169203331-01"


async def _project(projection: ProjectionService, judged: Judged, trace: str) -> None:
    """Project the parts of an evaluation as records of a trace."""
    token = context.attach(tracing.of_record([("traceparent", _sent(trace).encode())]))
    try:
        for part in judged.parts():
            await projection.take_part(part)
    finally:
        context.detach(token)


async def _trace(client: httpx.AsyncClient) -> str | None:
    shown: str | None = (await client.get("/v1/instances/sales-eu")).raise_for_status().json()["trace_id"]
    return shown


async def test_an_instance_names_the_trace_of_its_current_evaluation(
    client: httpx.AsyncClient, projection: ProjectionService
) -> None:
    await projection.take_status(status())
    assert await _trace(client) is None
    await _project(projection, Judged(2), TRACE)
    assert await _trace(client) == TRACE
    await _project(projection, Judged(1), OTHER)
    assert await _trace(client) == TRACE, "an older evaluation changes nothing"
    await _project(projection, Judged(3), OTHER)
    assert await _trace(client) == OTHER


async def test_an_evaluation_that_waited_keeps_its_trace(
    client: httpx.AsyncClient, projection: ProjectionService
) -> None:
    await _project(projection, Judged(1, [result("C-9")]), TRACE)
    await projection.take_definitions([definition("C-9")])
    assert await projection.apply_waiting() == []
    assert await _trace(client) == TRACE


@pytest.mark.parametrize("path", ["/v1/products", "/v1/nothing", "/healthz"])
async def test_every_answer_names_its_trace(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers={"traceparent": _sent(TRACE)})
    assert answer.headers["traceresponse"] == _sent(TRACE)
    own = {(await client.get(path)).headers["traceresponse"] for _ in range(2)}
    assert len(own | {_sent(TRACE)}) == 3


@pytest.mark.parametrize(
    ("method", "path", "status_code"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/recommendations?limit=x", 422),
        ("DELETE", "/v1/products", 405),
        ("GET", "/v1/instances/x", 404),
    ],
)
async def test_every_problem_names_its_trace(
    client: httpx.AsyncClient, method: str, path: str, status_code: int
) -> None:
    answer = await client.request(method, path, headers={"traceparent": _sent(TRACE)})
    assert (answer.status_code, answer.json()["trace_id"]) == (status_code, TRACE)


async def test_a_refusal_names_it_too(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/v1/products", headers={"traceparent": _sent(TRACE)})
    assert (answer.status_code, answer.json()["trace_id"]) == (401, TRACE)


async def test_a_scan_says_which_trace_its_collection_will_have(
    client: httpx.AsyncClient, projection: ProjectionService, asked: list[CollectionRequest]
) -> None:
    await projection.take_status(status())
    answer = await client.post("/v1/instances/sales-eu/scan", headers={"traceparent": _sent(TRACE)})
    assert answer.json()["trace_id"] == TRACE
    token = context.attach(tracing.received({"traceparent": _sent(TRACE)}))
    assert ("traceparent", _sent(TRACE).encode()) in envelope.headers(asked[0], source="/tests")
    context.detach(token)
