"""The HTTP side of the simulated ServiceNow instance: tokens, tables, aggregates, errors."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from plumbline_simulators import control_plane
from plumbline_simulators.credentials import Credentials
from plumbline_simulators.faults import FaultBox, FaultLayer
from plumbline_simulators.read_only import ReadOnlyLayer
from plumbline_simulators.servicenow import answers
from plumbline_simulators.servicenow.access import UNREADABLE_FIELDS
from plumbline_simulators.servicenow.aggregates import aggregate
from plumbline_simulators.servicenow.instance import Instance
from plumbline_simulators.servicenow.limits import RateLimit, Semaphores
from plumbline_simulators.servicenow.login import Login, denied
from plumbline_simulators.servicenow.paging import Page, without_key
from plumbline_simulators.servicenow.rendering import Renderer, Wanted, withheld_as

TOKEN_PATH = "/oauth_token.do"  # noqa: S105 - a path
COOKIES_RETURNED = "COOKIE returned"
_CANCELLED = "Transaction cancelled: maximum execution time exceeded"
_CANCELLED_DETAIL = (
    f"{_CANCELLED} Check logs for error trace or enable glide.rest.debug property to verify REST request processing"
)
_NO_RECORD = ("No Record found", "Record doesn't exist or ACL restricts the record retrieval")
Handler = Callable[[Request], Awaitable[Response]]


class ServiceNowApi:
    """Requests to one simulated instance."""

    def __init__(self, instance: Instance, credentials: Credentials) -> None:
        self.instance = instance
        self.requests: Counter[str] = Counter()
        self._login, self._limit = Login(instance, credentials), RateLimit(instance)
        self._calls = 0

    def dressed(self, handler: Handler) -> Handler:
        """A handler whose answers carry the headers of the product; cookies that come back are counted."""

        async def handle(request: Request) -> Response:
            if "cookie" in request.headers:
                self._count(request, COOKIES_RETURNED)
            answer = await handler(request)
            return answers.dress(answer, self._limit.headers())

        return handle

    def _count(self, request: Request, kind: str) -> None:
        """Count a request, unless it only looks ahead for a fault (see `faults.FaultLayer`)."""
        if not request.scope.get("is_probe"):
            self.requests[kind] += 1

    async def token(self, request: Request) -> Response:
        """POST /oauth_token.do."""
        self._count(request, "POST token")
        if refusal := self._login.blocked(request):
            return refusal
        if "form" not in request.headers.get("content-type", ""):
            return denied()
        form = {key: str(value) for key, value in (await request.form()).items()}
        return self._login.token(form, request.headers.get("authentication", "").removeprefix("Bearer "))

    async def nowhere(self, request: Request) -> Response:
        """GET of anything that is no resource."""
        self._count(request, "GET nowhere")
        return answers.error(400, "Requested URI does not represent any resource")

    def _refuse(self, request: Request, table: str) -> Response | None:
        self._count(request, f"{request.method} {table}")
        if request.scope.get("fault") == "expired_token":
            self.instance.expire_tokens()
        if refusal := self._login.refusal(request):
            return refusal
        if not request.scope.get("is_probe") and (refusal := self._limit.refusal()):
            return refusal
        if table not in self.instance.tables():
            return answers.error(400, f"Invalid table {table}")
        if found := self.instance.rules.refusal(table):
            return answers.error(403, *found)
        return None

    def _select(self, table: str, text: str) -> Sequence[int] | Response:
        """The numbers of the rows that an encoded query finds, or the refusal to search so."""
        database, rules = self.instance.database, self.instance.rules
        query = database.parse(table, text)
        is_range_denied = table in rules.without_range and query.needs_range
        if is_range_denied or any(withheld_as(database, rules, table, field) for field in query.fields):
            return answers.error(403, "Insufficient rights to query records", UNREADABLE_FIELDS)
        if query.invalid and self.instance.is_on("glide.invalid_query.returns_no_rows"):
            return ()
        found = database.select(table, query)
        return found if query.orders or not self.instance.behaviour.unordered else self._shifted(found)

    def _shifted(self, found: Sequence[int]) -> Sequence[int]:
        """The same rows, in another order at each call."""
        self._calls += 1
        start = self._calls * 7919 % max(len(found), 1)
        return [*found[start:], *found[:start]]

    async def table(self, request: Request) -> Response:
        """GET /api/now/table/{table}."""
        table, query = request.path_params["table"], request.query_params
        if refusal := self._refuse(request, table):
            return refusal
        fault, text = str(request.scope.get("fault", "")), query.get("sysparm_query", "")
        found = self._select(table, without_key(text) if fault == "endless_page" else text)
        if isinstance(found, Response):
            return found
        if not found and "/v1/" in request.url.path:
            return answers.error(404, *_NO_RECORD)
        if fault == "changed_order":
            found = self._shifted(found)
        page = Page.of(request, len(found), fault)
        if page is None:
            return answers.error(400, "Invalid pagination parameter", "limit and offset are whole numbers from 0 on")
        rows = self._render(request, table, page.damaged(found[page.start : page.start + page.limit]))
        answer = self._cancelled(rows) if fault == "truncated_result" else json.dumps({"result": rows})
        return Response(answer, media_type=answers.JSON, headers=page.headers())

    def _render(self, request: Request, table: str, found: Sequence[int]) -> list[dict[str, object]]:
        content, query = self.instance.tables()[table], request.query_params
        wanted = Wanted.of(f"{request.url.scheme}://{request.url.netloc}", query)
        fields = [field for field in query.get("sysparm_fields", "").split(",") if field]
        renderer = Renderer(self.instance.database, self.instance.rules, table, wanted)
        cells = renderer.cells(fields or sorted(content.schema.columns)).items()
        hides = self.instance.rules.hides
        seen = [n for n in found if not hides(table, n, lambda column, n=n: content.reader(column)(n))]  # type: ignore[misc]
        return [{field: cell(number) for field, cell in cells} for number in seen]

    def _cancelled(self, rows: list[dict[str, object]]) -> str:
        """Half of the rows and an error, as when the transaction quota ends a query; spoilt JSON, if so set."""
        error = {"message": _CANCELLED, "detail": _CANCELLED_DETAIL}
        text = json.dumps({"result": rows[: len(rows) // 2], "error": error, "status": "failure"})
        return text.replace('], "error"', '] "error"') if self.instance.behaviour.broken_truncation else text

    async def record(self, request: Request) -> Response:
        """GET /api/now/table/{table}/{sys_id}."""
        table = request.path_params["table"]
        if refusal := self._refuse(request, table):
            return refusal
        number = self.instance.tables()[table].number_of(request.path_params["sys_id"])
        rows = [] if number is None else self._render(request, table, [number])
        if not rows:
            return answers.error(404, *_NO_RECORD)
        return Response(json.dumps({"result": rows[0]}), media_type=answers.JSON)

    async def stats(self, request: Request) -> Response:
        """GET /api/now/stats/{table}."""
        table, query = request.path_params["table"], request.query_params
        if refusal := self._refuse(request, table):
            return refusal
        grouped = [f"GROUPBY{field}" for field in query.get("sysparm_group_by", "").split(",") if field]
        found = self._select(table, "^".join(filter(None, [query.get("sysparm_query", ""), *grouped])))
        if isinstance(found, Response):
            return found
        return Response(json.dumps({"result": aggregate(self.instance.database, table, found, query)}),
                        media_type=answers.JSON)  # fmt: skip


def app(
    instance: Instance | None = None, *, credentials: Credentials | None = None, state: Path | None = None
) -> ASGIApp:
    """The simulated instance as an ASGI application. `state` keeps changed settings across restarts."""
    instance = instance or Instance()
    faults = FaultBox()
    api = ServiceNowApi(instance, credentials or Credentials())
    changes = control_plane.Changes(state)
    changes.replay(instance)
    inner = Starlette(
        routes=[
            Route(TOKEN_PATH, api.dressed(api.token), methods=["POST"]),
            *(Route(f"/api/now{v}/table/{{table}}", api.dressed(api.table)) for v in ("", "/v1", "/v2")),
            *(Route(f"/api/now{v}/table/{{table}}/{{sys_id}}", api.dressed(api.record)) for v in ("", "/v1", "/v2")),
            *(Route(f"/api/now{v}/stats/{{table}}", api.dressed(api.stats)) for v in ("", "/v1")),
            *control_plane.routes(instance, faults, api.requests, changes),
            Route("/{anything:path}", api.dressed(api.nowhere)),
        ]
    )
    answering = Semaphores(FaultLayer(inner, faults), lambda: instance.behaviour.semaphores)
    refusal = answers.error(405, "Method not allowed")
    return ReadOnlyLayer(answering, TOKEN_PATH, api.requests, lambda: refusal)
