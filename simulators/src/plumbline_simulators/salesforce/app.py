"""The HTTP side of the simulated Salesforce org: tokens, queries, paging, limits, errors."""

import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from plumbline_simulators import control_plane
from plumbline_simulators.credentials import Credentials, basic_credentials
from plumbline_simulators.faults import FaultBox, FaultLayer
from plumbline_simulators.read_only import ReadOnlyLayer
from plumbline_simulators.salesforce import soql
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.tables import Row, Table, value_at

VERSIONS = tuple(f"{number}.0" for number in range(62, 67))
DAILY_LIMIT = 100_000
PAGE = 2000
SHORT_PAGE = 200
JWT_LIFE_SECONDS = 180
TOKEN_PATH = "/services/oauth2/token"  # noqa: S105 - a path
_SMALL_PAGES = {"TwoFactorMethodsInfo": 500, "OauthToken": 500}
_ROW_CAPS = {"TwoFactorMethodsInfo": 2500, "OauthToken": 2500}
_OPEN_CURSORS = 64


class _Cursor:
    """A result that is still being paged through."""

    def __init__(self, query: soql.Query, table: Table, tooling: bool) -> None:
        self.query, self.table, self.tooling = query, table, tooling
        self.cap = _ROW_CAPS.get(table.name)
        self.total = sum(1 for _ in self._matching())
        self._position, self._rows = 0, self._matching()

    def _matching(self) -> Iterator[Row]:
        query = self.query
        found: Iterator[Row] = (row for row in self.table.rows(query.after) if query.matches(row))
        if query.order_by and query.order_by != self.table.key:
            path = query.order_by
            found = iter(sorted(found, key=lambda row: _sortable(value_at(row, path)), reverse=query.descending))
        elif query.descending:
            found = iter(list(found)[::-1])
        end = None if query.limit is None else query.offset + query.limit
        return islice(found, query.offset, end)

    def page(self, start: int, size: int) -> list[Row]:
        """Rows from `start`; going on is cheap, going back starts again."""
        if start != self._position:
            self._rows = self._matching()
            next(islice(self._rows, start, start), None)
        end = size if self.cap is None else max(0, min(size, self.cap - start))
        rows = list(islice(self._rows, end))
        self._position = start + len(rows)
        return rows


def _sortable(value: Any) -> Any:  # noqa: ANN401 - any cell
    return value if value is not None else datetime.min.replace(tzinfo=UTC)


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse([{"message": message, "errorCode": code}], status)


def _not_allowed() -> Response:
    return _error(405, "METHOD_NOT_ALLOWED", "HTTP Method not allowed. Allowed are GET")


def _cell(value: Any) -> Any:  # noqa: ANN401 - any cell
    return value.strftime("%Y-%m-%dT%H:%M:%S.000+0000") if isinstance(value, datetime) else value


def _record(row: Row, fields: list[str], name: str, root: str) -> Row:
    record: Row = {"attributes": {"type": name, "url": f"{root}/sobjects/{name}/{row.get('Id', '000000000000000AAA')}"}}
    for field in fields:
        *parents, last = field.split(".")
        node: Row = record
        source: Any = row
        for parent in parents:
            source = source.get(parent) if isinstance(source, dict) else {}
            if source is None:
                node[parent] = None
                break
            node = node.setdefault(parent, {"attributes": {"type": parent}})
        else:
            node[last] = _cell(source.get(last))
    return record


class SalesforceApi:
    """Requests to one simulated org."""

    def __init__(self, org: Org, credentials: Credentials, faults: FaultBox) -> None:
        self.org, self._credentials, self._faults = org, credentials, faults
        self.requests: Counter[str] = Counter()
        self._cursors: OrderedDict[str, _Cursor] = OrderedDict()
        self._used = 0

    async def token(self, request: Request) -> Response:
        """POST /services/oauth2/token."""
        self.requests["POST token"] += 1
        form = {key: str(value) for key, value in (await request.form()).items()}
        if refusal := self._refuse_grant(form, request):
            code, description = refusal
            return JSONResponse({"error": code, "error_description": description}, 400)
        token, _ = self.org.tokens.issue(reuse=False)
        base = f"{request.url.scheme}://{request.url.netloc}"
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

    def _refuse_grant(self, form: dict[str, str], request: Request) -> tuple[str, str] | None:
        accepted = self._credentials
        grant = form.get("grant_type", "")
        if grant == "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return self._refuse_assertion(form.get("assertion", ""))
        client_id, secret = _client(form, request)
        if client_id != accepted.client_id:
            return "invalid_client_id", "client identifier invalid"
        if secret != accepted.client_secret:
            return "invalid_client", "invalid client credentials"
        if grant == "password":
            matches = form.get("username") == accepted.username and form.get("password") == accepted.password
            return None if matches else ("invalid_grant", "authentication failure")
        return None if grant == "client_credentials" else ("unsupported_grant_type", "grant type not supported")

    def _refuse_assertion(self, assertion: str) -> tuple[str, str] | None:
        accepted = self._credentials
        if accepted.jwt_public_key is None:
            return "invalid_grant", "user hasn't approved this consumer"
        audiences = ["https://login.salesforce.com", "https://test.salesforce.com"]
        try:
            claims = jwt.decode(assertion, accepted.jwt_public_key, algorithms=["RS256"], audience=audiences)
        except jwt.InvalidAudienceError:
            return "invalid_grant", "audience is invalid"
        except jwt.InvalidTokenError:
            return "invalid_grant", "invalid assertion"
        if claims.get("exp", 0) - time.time() > JWT_LIFE_SECONDS or claims.get("iss") != accepted.client_id:
            return "invalid_grant", "invalid assertion"
        return (
            None if claims.get("sub") == accepted.username else ("invalid_grant", "user hasn't approved this consumer")
        )

    def _refuse(self, request: Request) -> Response | None:
        """What every data request must pass."""
        version = request.path_params["version"]
        self.requests[f"{request.method} {request.url.path.split('/', 4)[-1].split('/')[0]}"] += 1
        if version not in VERSIONS:
            return _error(410, "UNSUPPORTED_API_VERSION", f"API version {version} is retired")
        if request.scope.get("fault") == "expired_token":
            self.org.expire_tokens()
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not self.org.tokens.is_valid(token):
            return _error(401, "INVALID_SESSION_ID", "Session expired or invalid")
        self._used += 1
        if self._used > DAILY_LIMIT:
            return self._fail(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        return None

    def _json(self, body: Any, status: int = 200) -> JSONResponse:  # noqa: ANN401
        return JSONResponse(body, status, headers={"Sforce-Limit-Info": f"api-usage={self._used}/{DAILY_LIMIT}"})

    def _fail(self, status: int, code: str, message: str) -> JSONResponse:
        """An error of a request that was let in: it counts, and carries the limit header as every answer does."""
        return self._json([{"message": message, "errorCode": code}], status)

    async def versions(self, _: Request) -> Response:
        """GET /services/data/."""
        return JSONResponse([{"label": v, "url": f"/services/data/v{v}", "version": v} for v in VERSIONS])

    async def limits(self, request: Request) -> Response:
        """GET …/limits."""
        if refusal := self._refuse(request):
            return refusal
        return self._json({"DailyApiRequests": {"Max": DAILY_LIMIT, "Remaining": DAILY_LIMIT - self._used}})

    async def query(self, request: Request) -> Response:
        """GET …/query?q=, …/tooling/query?q=."""
        if refusal := self._refuse(request):
            return refusal
        tooling = "/tooling/" in request.url.path
        try:
            parsed = soql.parse(request.query_params.get("q", ""))
        except soql.MalformedQueryError as error:
            return self._fail(400, "MALFORMED_QUERY", str(error))
        tables = self.org.tooling_tables() if tooling else self.org.tables()
        table = tables.get(parsed.name)
        if table is None or parsed.name in self.org.hidden:
            message = f"\nFROM {parsed.name}\n     ^\nsObject type '{parsed.name}' is not supported."
            return self._fail(400, "INVALID_TYPE", message)
        if unknown := sorted((set(parsed.fields or ()) | parsed.named) - table.columns):
            message = f"\nSELECT {unknown[0]}\n       ^\nNo such column '{unknown[0]}' on entity '{parsed.name}'."
            return self._fail(400, "INVALID_FIELD", message)
        cursor = _Cursor(parsed, table, tooling)
        if parsed.fields is None:
            return self._json({"totalSize": cursor.total, "done": True, "records": []})
        if "Metadata" in parsed.fields and cursor.total != 1:
            return self._fail(
                400, "MALFORMED_QUERY", "When retrieving results with Metadata or FullName fields, ask for one row"
            )
        locator = f"01g{len(self._cursors) + self._used:012d}AAA"
        self._cursors[locator] = cursor
        if len(self._cursors) > _OPEN_CURSORS:
            self._cursors.popitem(last=False)
        return self._page(request, locator, 0)

    async def more(self, request: Request) -> Response:
        """GET …/query/{locator}-{position}."""
        if refusal := self._refuse(request):
            return refusal
        locator, _, position = request.path_params["locator"].rpartition("-")
        if locator not in self._cursors or not position.isdigit():
            return self._fail(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(request, locator, int(position))

    def _page(self, request: Request, locator: str, start: int) -> Response:
        cursor = self._cursors[locator]
        fault = request.scope.get("fault")
        size = SHORT_PAGE if fault == "short_pages" else _page_size(request, cursor.table.name)
        rows = cursor.page(start, size)
        root = f"/services/data/v{request.path_params['version']}" + ("/tooling" if cursor.tooling else "")
        records = [_record(row, cursor.query.fields or [], cursor.table.name, root) for row in rows]
        end = start + len(rows)
        done = end >= min(cursor.total, cursor.cap or cursor.total) or not rows
        body: Row = {"totalSize": cursor.total, "done": done, "records": records}
        if cursor.tooling:
            body = {"size": len(records), "queryLocator": None, "entityTypeName": cursor.table.name, **body}
        if not done or fault in ("endless_page", "foreign_next", "done_without_next"):
            following = f"{root}/query/{locator}-{start if fault == 'endless_page' else end}"
            body |= {"done": False}
            if fault != "done_without_next":
                body["nextRecordsUrl"] = (
                    f"https://elsewhere.example.net{following}" if fault == "foreign_next" else following
                )
        return self._json(body)

    async def describe(self, request: Request) -> Response:
        """GET …/sobjects/{name}/describe."""
        if refusal := self._refuse(request):
            return refusal
        table = self.org.tables().get(request.path_params["name"])
        if table is None:
            return self._fail(404, "NOT_FOUND", "The requested resource does not exist")
        fields = [{"name": name, "label": name} for name in sorted(table.columns) if "." not in name]
        return self._json({"name": table.name, "fields": fields})


def _page_size(request: Request, table: str) -> int:
    options = request.headers.get("sforce-query-options", "")
    asked = options.partition("batchSize=")[2].split(",")[0]
    wanted = min(max(int(asked), 200), PAGE) if asked.isdigit() else PAGE
    return min(wanted, _SMALL_PAGES.get(table, PAGE))


def _client(form: dict[str, str], request: Request) -> tuple[str, str]:
    stated = basic_credentials(request.headers.get("authorization", ""))
    return stated or (form.get("client_id", ""), form.get("client_secret", ""))


def app(org: Org | None = None, *, credentials: Credentials | None = None, state: Path | None = None) -> ASGIApp:
    """The simulated org as an ASGI application. `state` keeps changed settings across restarts."""
    org = org or Org()
    faults = FaultBox()
    api = SalesforceApi(org, credentials or Credentials(), faults)
    changes = control_plane.Changes(state)
    changes.replay(org)
    data = "/services/data/v{version}"
    inner = Starlette(
        routes=[
            Route(TOKEN_PATH, api.token, methods=["POST"]),
            Route("/services/data/", api.versions),
            Route(f"{data}/limits", api.limits),
            Route(f"{data}/query", api.query),
            Route(f"{data}/query/", api.query),
            Route(f"{data}/query/{{locator}}", api.more),
            Route(f"{data}/tooling/query", api.query),
            Route(f"{data}/tooling/query/", api.query),
            Route(f"{data}/tooling/query/{{locator}}", api.more),
            Route(f"{data}/sobjects/{{name}}/describe", api.describe),
            *control_plane.routes(org, faults, api.requests, changes),
        ]
    )
    return ReadOnlyLayer(FaultLayer(inner, faults), TOKEN_PATH, api.requests, _not_allowed)
