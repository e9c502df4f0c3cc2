"""The HTTP side of the simulated ServiceNow instance: tokens, tables, aggregates, errors."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from plumbline_simulators import control_plane
from plumbline_simulators.credentials import Credentials, basic_credentials
from plumbline_simulators.faults import FaultBox, FaultLayer
from plumbline_simulators.read_only import ReadOnlyLayer
from plumbline_simulators.servicenow.encoded_query import EncodedQuery, cell, parse
from plumbline_simulators.servicenow.instance import Instance
from plumbline_simulators.tables import Row, Table

DEFAULT_LIMIT = 10_000
TOKEN_PATH = "/oauth_token.do"  # noqa: S105 - a path
_CANCELLED = "Transaction cancelled: maximum execution time exceeded"


def _error(status: int, message: str, detail: str | None, **headers: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "detail": detail}, "status": "failure"}, status, headers=headers)


def _not_allowed() -> Response:
    return _error(405, "Method not allowed", None)


class _Cursor:
    """The rows of one query, so that the next page need not start again."""

    def __init__(self, table: Table, query: EncodedQuery) -> None:
        self._table, self._query = table, query
        self.total = sum(1 for _ in self._matching())
        self.last_key: str | None = None
        self._position, self._rows = 0, self._matching()

    def _matching(self) -> Iterator[Row]:
        found: Iterator[Row] = (row for row in self._table.rows(self._query.after) if self._query.matches(row))
        order = self._query.order_by
        if order and (order != self._table.key or self._query.descending):
            return iter(sorted(found, key=lambda row: cell(row, order), reverse=self._query.descending))
        return found

    def page(self, start: int, size: int) -> list[Row]:
        """Rows from `start`; going on is cheap, going back starts again."""
        if start != self._position:
            self._rows = self._matching()
            next(islice(self._rows, start, start), None)
        rows = list(islice(self._rows, size))
        self._position = start + len(rows)
        self.last_key = rows[-1][self._table.key] if rows else None
        return rows

    @property
    def position(self) -> int:
        """How many rows were handed out."""
        return self._position


class ServiceNowApi:
    """Requests to one simulated instance."""

    def __init__(self, instance: Instance, credentials: Credentials) -> None:
        self.instance, self._credentials = instance, credentials
        self.requests: Counter[str] = Counter()
        self._cursor: tuple[tuple[str, str], _Cursor] | None = None

    async def token(self, request: Request) -> Response:
        """POST /oauth_token.do."""
        self.requests["POST token"] += 1
        if "form" not in request.headers.get("content-type", ""):
            return self._denied()
        form = {key: str(value) for key, value in (await request.form()).items()}
        accepted = self._credentials
        if (form.get("client_id"), form.get("client_secret")) != (accepted.client_id, accepted.client_secret):
            return self._denied()
        grant = form.get("grant_type")
        if grant == "password" and (form.get("username"), form.get("password")) != (
            accepted.username,
            accepted.password,
        ):
            return self._denied()
        if grant not in ("client_credentials", "password", "urn:ietf:params:oauth:grant-type:jwt-bearer"):
            return self._denied()
        token, seconds = self.instance.tokens.issue(reuse=True)
        body = {"access_token": token, "scope": "useraccount", "token_type": "Bearer", "expires_in": seconds}
        return JSONResponse(body | ({"refresh_token": "unused"} if grant == "password" else {}))

    @staticmethod
    def _denied() -> Response:
        return JSONResponse({"error_description": "access_denied", "error": "server_error"}, 401)

    def _is_authenticated(self, request: Request) -> bool:
        accepted = self._credentials
        if request.headers.get("x-sn-apikey") == accepted.api_key:
            return True
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer":
            return self.instance.tokens.is_valid(value)
        return basic_credentials(request.headers.get("authorization", "")) == (accepted.username, accepted.password)

    def _refuse(self, request: Request) -> Response | None:
        table = request.path_params.get("table", "")
        self.requests[f"{request.method} {table}"] += 1
        if request.scope.get("fault") == "expired_token":
            self.instance.expire_tokens()
        if not self._is_authenticated(request):
            realm = 'Basic realm="Service-now"'
            return _error(
                401, "User Not Authenticated", "Required to provide Auth information", **{"WWW-Authenticate": realm}
            )
        if table not in self.instance.tables():
            return _error(400, f"Invalid table {table}", None)
        if self.instance.access.get(table) == "deny":
            detail = "ACL Exception Query Failed due to security constraints"
            return _error(403, "Operation Failed", detail)
        return None

    def _open(self, table: Table, text: str, offset: int) -> tuple[_Cursor, int]:
        """The cursor of a query and where the page begins; keyset and offset paging go on where the last page ended."""
        query = parse(text, table.columns)
        base = text.removeprefix(f"sys_id>{query.after}^") if query.after else text
        if self._cursor and self._cursor[0] == (table.name, base):
            cursor = self._cursor[1]
            if query.after and not offset and cursor.last_key == query.after:
                return cursor, cursor.position
            if offset and not query.after:
                return cursor, offset
        cursor = _Cursor(table, query)
        self._cursor = ((table.name, base), cursor) if not query.after else None
        return cursor, offset

    async def table(self, request: Request) -> Response:
        """GET /api/now/table/{table}."""
        if refusal := self._refuse(request):
            return refusal
        query, fault = request.query_params, request.scope.get("fault")
        table = self.instance.tables()[request.path_params["table"]]
        text = query.get("sysparm_query", "")
        limit = int(query.get("sysparm_limit", DEFAULT_LIMIT))
        offset = int(query.get("sysparm_offset", 0))
        cursor, start = self._open(table, text, offset)
        if not cursor.total and "/v1/" in request.url.path:
            return _error(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
        remaining = cursor.total - (start - offset)
        rows = [row for row in cursor.page(start, limit) if not self.instance.is_hidden(table.name, row)]
        if fault == "short_pages":
            rows = [row for number, row in enumerate(rows) if number % 7]
        fields = [field for field in query.get("sysparm_fields", "").split(",") if field] or sorted(table.columns)
        exclude_links = query.get("sysparm_exclude_reference_link") == "true"
        result = [_shown(row, fields, table.columns, request, exclude_links) for row in rows]
        headers = self._headers(request, remaining, limit, offset)
        if fault == "truncated_result":
            error = {"message": _CANCELLED, "detail": _CANCELLED}
            return JSONResponse(
                {"result": result[: len(result) // 2], "error": error, "status": "failure"}, headers=headers
            )
        return Response(json.dumps({"result": result}), media_type="application/json;charset=UTF-8", headers=headers)

    def _headers(self, request: Request, total: int, limit: int, offset: int) -> dict[str, str]:
        headers = {"Server": "snow_adc", "X-Is-Logged-In": "true", "X-Transaction-ID": "5f1e2d3c4b5a"}
        query = request.query_params
        if query.get("sysparm_no_count") != "true":
            headers["X-Total-Count"] = str(total)
        if query.get("sysparm_suppress_pagination_header") == "true":
            return headers
        steps = {"first": 0, "prev": offset - limit}
        if offset + limit < total:
            steps |= {"next": offset + limit, "last": (total - 1) // limit * limit}
        base = f"{request.url.scheme}://{request.url.netloc}{request.url.path}"
        links = [f'<{base}?{urlencode({**query, "sysparm_offset": at})}>;rel="{name}"' for name, at in steps.items()]
        return headers | {"Link": ",".join(links)}

    async def stats(self, request: Request) -> Response:
        """GET /api/now/stats/{table}: the count alone."""
        if refusal := self._refuse(request):
            return refusal
        table = self.instance.tables()[request.path_params["table"]]
        query = parse(request.query_params.get("sysparm_query", ""), table.columns)
        count = sum(1 for row in table.rows(query.after) if query.matches(row))
        return JSONResponse({"result": {"stats": {"count": str(count)}}})


def _shown(row: Row, fields: list[str], columns: frozenset[str], request: Request, exclude_links: bool) -> Row:
    shown: dict[str, Any] = {}
    for field in fields:
        if field not in columns:
            continue
        value = cell(row, field)
        is_reference = field in ("user", "role", "sys_scope")
        if is_reference and not exclude_links and value:
            target = {"user": "sys_user", "role": "sys_user_role"}.get(field, field)
            link = f"{request.url.scheme}://{request.url.netloc}/api/now/table/{target}/{value}"
            shown[field] = {"link": link, "value": value}
        else:
            shown[field] = value
    return shown


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
            Route(TOKEN_PATH, api.token, methods=["POST"]),
            *(Route(f"/api/now{v}/table/{{table}}", api.table) for v in ("", "/v1", "/v2")),
            *(Route(f"/api/now{v}/stats/{{table}}", api.stats) for v in ("", "/v1")),
            *control_plane.routes(instance, faults, api.requests, changes),
        ]
    )
    return ReadOnlyLayer(FaultLayer(inner, faults), TOKEN_PATH, api.requests, _not_allowed)
