"""Routes in the shape of Microsoft Graph's Secure Score (v1.0)."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.convertors import StringConvertor, register_url_convertor

from plumbline_score_api.access import Reader, Writer, streamed
from plumbline_score_api.audit.schemas import Author
from plumbline_score_api.graph.schemas import (
    ControlProfileAnswer,
    ControlProfilePage,
    CountQuery,
    GraphError,
    ListQuery,
    ProfilePatch,
    SecureScoreAnswer,
    SecureScorePage,
    SelectQuery,
)
from plumbline_score_api.graph.service import GraphService, Page, Properties, ScorePage
from plumbline_score_api.problems import BadRequestError

CONTENT_TYPE = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
BASE = "/graph/v1.0"
SCORES = "security/secureScores"
PROFILES = "security/secureScoreControlProfiles"
REPEATED = ("top", "filter", "orderby", "select")
LIST_OPTIONS = frozenset({f"${name}" for name in ("count", "filter", "orderby", "select", "skip", "skiptoken", "top")})
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": GraphError} for status in (400, 401, 403, 404, 405, 409, 413, 429, 500, 503, "4XX")
}
"""The errors of these routes; `4XX` for those that only a broken client meets."""


async def options(request: Request) -> None:
    """A dependency: options that the route does not know, or that come twice, are refused, as Graph does.

    What begins with no dollar sign is nobody's option and is ignored, as OData has it. Raises BadRequestError.
    """
    method_options: Mapping[str, frozenset[str]] = {"": LIST_OPTIONS, "$count": frozenset({"$filter"})}
    route = request.scope["route"].path.removeprefix(f"{BASE}/security/").partition("/")[2]
    known = method_options.get(route, frozenset({"$select"}))
    names = [name for name, _ in request.query_params.multi_items() if name.startswith("$")]
    for name in names:
        if name not in known:
            raise BadRequestError(f"The query option '{name[:100]}' is not supported here.")
        if names.count(name) > 1:
            raise BadRequestError(f"The query option '{name}' was given more than once.")


class _KeyConvertor(StringConvertor):
    """The key of an entity. A segment such as `$count` is none, whatever the method."""

    regex = "[^/$][^/]*"


register_url_convertor("key", _KeyConvertor())

router = APIRouter(
    prefix=f"{BASE}/security", tags=["microsoft graph"], responses=ERRORS, dependencies=[Depends(options)]
)

ScoreId = Annotated[str, Path(max_length=200, description="`{azureTenantId}_{yyyy-MM-dd}`")]
ProfileId = Annotated[str, Path(max_length=200, description="Microsoft's id for its own controls, ours for the rest")]
Prefer = Annotated[str | None, Header(max_length=1000, description="`return=representation` for the changed profile")]


def _graph(request: Request) -> GraphService:
    found: GraphService = request.app.state.services.graph
    return found


@router.get(
    "/secureScores",
    operation_id="listGraphSecureScores",
    response_model=None,
    responses={200: {"model": SecureScorePage}},
    dependencies=[Depends(streamed)],
)
async def list_scores(request: Request, who: Reader, query: Annotated[ListQuery, Query()]) -> Response:
    """The tenant's Secure Score of each day, the newest first; today's is live."""
    graph = _graph(request)
    page = await graph.scores(who.tenant, query)
    head = _head(request, SCORES, query, page, page.properties)
    return StreamingResponse(_streamed(graph, who.tenant, head, page), headers={"Content-Type": CONTENT_TYPE})


@router.get(
    "/secureScores/$count",
    operation_id="countGraphSecureScores",
    response_model=None,
    response_class=PlainTextResponse,
    responses={200: {"description": "The number", "content": {"text/plain": {"schema": {"type": "integer"}}}}},
)
async def count_scores(request: Request, who: Reader, query: Annotated[CountQuery, Query()]) -> Response:
    """How many days there are."""
    return PlainTextResponse(str(await _graph(request).count_scores(who.tenant, query)))


@router.get(
    "/secureScores/{score_id:key}",
    operation_id="getGraphSecureScore",
    response_model=None,
    responses={200: {"model": SecureScoreAnswer}},
)
async def get_score(
    request: Request, who: Reader, score_id: ScoreId, query: Annotated[SelectQuery, Query()]
) -> Response:
    """The tenant's Secure Score of one day."""
    graph = _graph(request)
    return _entity(request, SCORES, query, await graph.score(who.tenant, score_id, query))


@router.get(
    "/secureScoreControlProfiles",
    operation_id="listGraphControlProfiles",
    response_model=None,
    responses={200: {"model": ControlProfilePage}},
)
async def list_profiles(request: Request, who: Reader, query: Annotated[ListQuery, Query()]) -> Response:
    """The controls of the instances that count, by id."""
    page = await _graph(request).profiles(who.tenant, query)
    return _json({**_head(request, PROFILES, query, page, page.properties), "value": page.value})


@router.get(
    "/secureScoreControlProfiles/$count",
    operation_id="countGraphControlProfiles",
    response_model=None,
    response_class=PlainTextResponse,
    responses={200: {"description": "The number", "content": {"text/plain": {"schema": {"type": "integer"}}}}},
)
async def count_profiles(request: Request, who: Reader, query: Annotated[CountQuery, Query()]) -> Response:
    """How many controls there are."""
    return PlainTextResponse(str(await _graph(request).count_profiles(who.tenant, query)))


@router.get(
    "/secureScoreControlProfiles/{profile_id:key}",
    operation_id="getGraphControlProfile",
    response_model=None,
    responses={200: {"model": ControlProfileAnswer}},
)
async def get_profile(
    request: Request, who: Reader, profile_id: ProfileId, query: Annotated[SelectQuery, Query()]
) -> Response:
    """One control, and what was decided about it."""
    graph = _graph(request)
    return _entity(request, PROFILES, query, await graph.profile(who.tenant, profile_id, query))


@router.patch(
    "/secureScoreControlProfiles/{profile_id:key}",
    operation_id="updateGraphControlProfile",
    response_model=None,
    status_code=204,
    responses={
        200: {
            "model": ControlProfileAnswer,
            "description": "With `Prefer: return=representation`: the changed profile",
        },
        204: {"description": "It is done; there is no body."},
    },
)
async def update_profile(
    request: Request, who: Writer, profile_id: ProfileId, body: ProfilePatch, prefer: Prefer = None
) -> Response:
    """Decide about a control on every instance that counts: state, comment, assignee."""
    graph = _graph(request)
    await graph.decide(who.tenant, Author.of(who), profile_id, body)
    if not _wants_representation(prefer):
        return Response(status_code=204)
    query = SelectQuery()
    response = _entity(request, PROFILES, query, await graph.profile(who.tenant, profile_id, query))
    response.headers["Preference-Applied"] = "return=representation"
    return response


def _wants_representation(prefer: str | None) -> bool:
    wishes = ["".join(wish.split()).replace('"', "").lower() for wish in (prefer or "").split(",")]
    return "return=representation" in wishes


# --- answers


def _json(document: Mapping[str, Any]) -> Response:
    response = JSONResponse(document)
    response.headers["Content-Type"] = CONTENT_TYPE
    return response


def _entity(request: Request, path: str, query: SelectQuery, document: Mapping[str, Any]) -> Response:
    context = _context(request, path, list(document) if query.select is not None else None)
    return _json({"@odata.context": f"{context}/$entity", **document})


def _head(request: Request, path: str, query: ListQuery, page: Page, properties: Properties) -> dict[str, Any]:
    """What stands before the value of a list."""
    found: dict[str, Any] = {"@odata.context": _context(request, path, properties)}
    if page.total is not None:
        found["@odata.count"] = page.total
    if page.token is not None:
        given = {f"${name}": getattr(query, name) for name in REPEATED if getattr(query, name) is not None}
        if query.count == "true":
            given["$count"] = "true"
        given["$skiptoken"] = page.token
        options = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in given.items())
        found["@odata.nextLink"] = f"{_base(request)}{BASE}/{path}?{options}"
    return found


def _context(request: Request, path: str, properties: Properties) -> str:
    selected = f"({','.join(properties)})" if properties is not None else ""
    return f"{_base(request)}{BASE}/$metadata#{path}{selected}"


def _base(request: Request) -> str:
    """Where callers reach the API: as configured, else the address that this connection came to.

    Never the Host header: who may write it would say where the next page, and with it the token, goes.
    """
    configured = _graph(request).names.public_url
    if configured is not None:
        return configured.rstrip("/")
    host, port = request.scope["server"]
    shown = f"[{host}]" if ":" in host else host
    return f"{request.scope['scheme']}://{shown}" + (f":{port}" if port else "")


async def _streamed(graph: GraphService, tenant: str, head: Mapping[str, Any], page: ScorePage) -> AsyncIterator[bytes]:
    """The list as JSON, day by day."""
    yield json.dumps(head)[:-1].encode() + b', "value": ['
    is_first = True
    async for document in graph.documents(tenant, page.days, page.properties):
        yield (b"" if is_first else b",") + json.dumps(document).encode()
        is_first = False
    yield b"]}"
