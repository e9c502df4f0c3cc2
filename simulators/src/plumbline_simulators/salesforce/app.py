"""The HTTP side of the simulated Salesforce org: tokens, queries, paging, limits, errors."""

import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from plumbline_simulators import control_plane
from plumbline_simulators.credentials import Credentials, basic_credentials
from plumbline_simulators.faults import FaultBox, FaultLayer
from plumbline_simulators.read_only import ReadOnlyLayer
from plumbline_simulators.salesforce import permissions, queries
from plumbline_simulators.salesforce.entity import Entity
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.salesforce.queries import MAX_URI_BYTES, RefusedQueryError, Result
from plumbline_simulators.salesforce.tokens import Grants
from plumbline_simulators.tables import Row

OLDEST, NEWEST = 31, 66
DAILY_LIMIT = 100_000
SHORT_PAGE = 200
TOKEN_PATH = "/services/oauth2/token"  # noqa: S105 - a path
_OPEN_CURSORS = 64
_TOO_MANY = 3
_SEASONS = ("Spring", "Summer", "Winter")
_TOO_LONG = "<html><head><title>URI Too Long</title></head><body>URI Too Long</body></html>"


class SalesforceApi:
    """Requests to one simulated org."""

    def __init__(self, org: Org, grants: Grants) -> None:
        self.org, self._grants = org, grants
        self.requests: Counter[str] = Counter()
        self._cursors: OrderedDict[str, Result] = OrderedDict()
        self._opened = 0
        self._used = 0

    async def token(self, request: Request) -> Response:
        """POST /services/oauth2/token."""
        self.requests["POST token"] += 1
        form = {key: str(value) for key, value in (await request.form()).items()}
        base = f"{request.url.scheme}://{request.url.netloc}"
        blocks = self.org.blobs["OauthOidcSettings"]["blockOAuthUnPwFlow"]
        if refusal := self._grants.refusal(form, _client(form, request), base, blocks_passwords=blocks):
            code, description = refusal
            return JSONResponse({"error": code, "error_description": description}, 400)
        token, _ = self.org.tokens.issue(reuse=False)
        return JSONResponse(
            {
                "access_token": token,
                "signature": "c2lnbmF0dXJl",
                "scope": "api",
                "instance_url": base,
                "id": f"{base}/id/00D000000000001EAA/005000000000000AAA",
                "token_type": "Bearer",
                "issued_at": str(int(time.time() * 1000)),
            }
        )

    def admitting(self, answer: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        """The route of a data request: refused unless version, length, token and limit allow it, and counted."""

        async def route(request: Request) -> Response:
            try:
                return self._refusal(request) or answer(request)
            except RefusedQueryError as error:
                return self._fail(400, error.code, error.message)

        return route

    def _refusal(self, request: Request) -> Response | None:
        version = request.path_params["version"].partition(".")[0]
        is_probe = "is_probe" in request.scope
        if not is_probe:
            self.requests[f"{request.method} {request.url.path.split('/', 4)[-1].split('/')[0]}"] += 1
        if len(request.url.path) + len(request.scope["query_string"]) > MAX_URI_BYTES:
            return HTMLResponse(_TOO_LONG, 414)
        if not version.isdigit() or int(version) > NEWEST:
            return _error(404, "NOT_FOUND", "The requested resource does not exist")
        if int(version) < OLDEST:
            return _error(410, "UNSUPPORTED_API_VERSION", f"API version {version}.0 is retired")
        if request.scope.get("fault") == "expired_token":
            self.org.expire_tokens()
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not self.org.tokens.is_valid(token):
            return _error(401, "INVALID_SESSION_ID", "Session expired or invalid")
        self._used += not is_probe
        if self._used > self.org.shape.daily_limit:
            return self._fail(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        return None

    def _json(self, body: Any, status: int = 200) -> JSONResponse:  # noqa: ANN401
        usage = f"api-usage={self._used}/{self.org.shape.daily_limit}"
        if self.org.shape.has_usage_per_app:
            usage += f"; per-app-api-usage={self._used}/250(appName=Plumbline)"
        return JSONResponse(body, status, headers={"Sforce-Limit-Info": usage})

    def _fail(self, status: int, code: str, message: str) -> JSONResponse:
        """An error of a request that was let in: it counts, and carries the limit header as every answer does."""
        return self._json([{"message": message, "errorCode": code}], status)

    async def versions(self, _: Request) -> Response:
        """GET /services/data/: asks for no token and is not counted."""
        return JSONResponse([_version(number) for number in range(OLDEST, NEWEST + 1)])

    def limits(self, _: Request) -> Response:
        """GET …/limits."""
        limit = self.org.shape.daily_limit
        daily = {"Max": limit, "Remaining": max(0, limit - self._used)}
        others = {
            "DailyBulkApiRequests": {"Max": 10_000, "Remaining": 10_000},
            "DataStorageMB": {"Max": 5, "Remaining": 3},
        }
        return self._json({"DailyApiRequests": daily, **others})

    def query(self, request: Request) -> Response:
        """GET …/query?q=, …/tooling/query?q=."""
        tooling = "/tooling/" in request.url.path
        result = queries.ask(self.org, request.query_params.get("q", ""), tooling=tooling)
        if result.selection is None:
            too_many = _TOO_MANY if request.scope.get("fault") == "wrong_total" else 0
            return self._json({"totalSize": result.total + too_many, "done": True, "records": list(result.records)})
        size = self._page_size(request, result)
        if result.name == "EntityDefinition" and result.total > size:
            message = (
                "EntityDefinition does not support queryMore(), use LIMIT to restrict the results to a single batch"
            )
            raise RefusedQueryError("EXCEEDED_ID_LIMIT", message)
        self._opened += 1
        locator = f"01g{self._opened:012d}AAA"
        return self._page(request, result, locator, 0)

    def more(self, request: Request) -> Response:
        """GET …/query/{locator}-{position}."""
        locator, _, position = request.path_params["locator"].rpartition("-")
        result = self._cursors.get(locator)
        if result is None or not position.isdigit():
            raise RefusedQueryError("INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(request, result, locator, int(position))

    def _page(self, request: Request, result: Result, locator: str, start: int) -> Response:
        fault = str(request.scope.get("fault", ""))
        size = min(self._page_size(request, result), max(0, result.readable - start))
        root = f"/services/data/v{request.path_params['version']}" + ("/tooling" if result.is_tooling else "")
        rows = _rows(result, start, size, fault)
        body: Row = {
            "totalSize": result.total + (_TOO_MANY if fault == "wrong_total" else 0),
            "done": start + size >= result.readable,
            "records": list(queries.records(rows, result, root)),
        }
        if result.is_tooling:
            body = {"size": len(rows), "queryLocator": None, "entityTypeName": result.name, **body}
        body |= _following(f"{root}/query/{locator}", start, start + size, is_done=body["done"], fault=fault)
        if not body["done"]:
            self._keep(locator, result)
        return self._json(body)

    def _keep(self, locator: str, result: Result) -> None:
        self._cursors[locator] = result
        if len(self._cursors) > _OPEN_CURSORS:
            self._cursors.popitem(last=False)

    def _page_size(self, request: Request, result: Result) -> int:
        if request.scope.get("fault") == "short_pages":
            return SHORT_PAGE
        options = request.headers.get("sforce-query-options", "")
        return queries.page_size(options, result.name, self.org.shape.page_size)

    def objects(self, request: Request) -> Response:
        """GET …/sobjects, …/tooling/sobjects: the objects that there are."""
        names = self.org.tooling_tables() if "/tooling/" in request.url.path else self.org.tables()
        return self._json({"sobjects": [{"name": name, "label": name, "queryable": True} for name in names]})

    def describe(self, request: Request) -> Response:
        """GET …/sobjects/{name}/describe."""
        entity = self.org.object(request.path_params["name"], tooling="/tooling/" in request.url.path)
        if entity is None:
            return self._fail(404, "NOT_FOUND", "The requested resource does not exist")
        return self._json({"name": entity.name, "label": entity.name, "fields": _fields(entity, self.org)})


def _fields(entity: Entity, org: Org) -> list[Row]:
    language = org.shape.language
    return [
        {
            "name": name,
            "label": permissions.label(name, language),
            "type": "boolean" if name.startswith(("Permissions", "Is", "Options", "Has")) else "string",
            "filterable": True,
        }
        for name in sorted(entity.columns)
        if "." not in name
    ]


def _rows(result: Result, start: int, size: int, fault: str) -> list[Row]:
    """The rows of a page, or what a fault makes of them."""
    if result.selection is None:
        return []
    before = start - 1 if start else 0
    match fault:
        case "duplicate_rows":
            repeated = result.selection.page(before, 1)
            return repeated + result.selection.page(start, size)
        case "lost_rows":
            return result.selection.page(start, size)[1:]
        case "changed_order":
            return result.selection.page(before, size)
    return result.selection.page(start, size)


def _following(path: str, start: int, end: int, *, is_done: bool, fault: str) -> Row:
    """The link to the next page, or what a fault makes of it."""
    if is_done and fault not in ("endless_page", "foreign_next", "done_without_next"):
        return {}
    if fault == "done_without_next":
        return {"done": False}
    host = "https://elsewhere.example.net" if fault == "foreign_next" else ""
    return {"done": False, "nextRecordsUrl": f"{host}{path}-{start if fault == 'endless_page' else end}"}


def _version(number: int) -> Row:
    season, year = _SEASONS[(number - NEWEST) % 3], 26 + (number - NEWEST + 1) // 3
    return {"label": f"{season} '{year}", "url": f"/services/data/v{number}.0", "version": f"{number}.0"}


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse([{"message": message, "errorCode": code}], status)


def _not_allowed() -> Response:
    return _error(405, "METHOD_NOT_ALLOWED", "HTTP Method not allowed. Allowed are GET")


def _client(form: dict[str, str], request: Request) -> tuple[str, str]:
    stated = basic_credentials(request.headers.get("authorization", ""))
    return stated or (form.get("client_id", ""), form.get("client_secret", ""))


def app(
    org: Org | None = None,
    *,
    credentials: Credentials | None = None,
    state: Path | None = None,
    is_login_host: bool = False,
) -> ASGIApp:
    """The simulated org as an ASGI application. `state` keeps changed settings across restarts.

    `is_login_host` makes it answer as login.salesforce.com, where client credentials are not accepted.
    """
    org = org or Org()
    faults = FaultBox()
    api = SalesforceApi(org, Grants(credentials or Credentials(), is_login_host=is_login_host))
    changes = control_plane.Changes(state)
    changes.replay(org)
    data, admitting = "/services/data/v{version}", api.admitting
    both = [f"{data}", f"{data}/tooling"]
    inner = Starlette(
        routes=[
            Route(TOKEN_PATH, api.token, methods=["POST"]),
            Route("/services/data/", api.versions),
            Route(f"{data}/limits", admitting(api.limits)),
            *(Route(f"{root}/query{end}", admitting(api.query)) for root in both for end in ("", "/")),
            *(Route(f"{root}/query/{{locator}}", admitting(api.more)) for root in both),
            *(Route(f"{root}/sobjects", admitting(api.objects)) for root in both),
            *(Route(f"{root}/sobjects/{{name}}/describe", admitting(api.describe)) for root in both),
            *control_plane.routes(org, faults, api.requests, changes),
        ]
    )
    return ReadOnlyLayer(FaultLayer(inner, faults), TOKEN_PATH, api.requests, _not_allowed)
