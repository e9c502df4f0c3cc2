"""HTTP to a ServiceNow instance: OAuth, key or basic login, the Table API with paging, the product's errors.

Sources: Table API, inbound REST API rate limiting, OAuth inbound.
"""

import base64
import time
import uuid
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any, ClassVar, Protocol

import jwt
from plumbline_contracts.events import DatasetState

from plumbline_collector.connections import ApiKey, Basic, ClientCredentials, JwtBearer, OAuthPassword
from plumbline_collector.connectors import bodies
from plumbline_collector.connectors.saas_client import Answer, SaasClient, TransientError, redirect_host
from plumbline_collector.errors import CredentialsError, ReadError, UnreachableError

PAGE_ROWS = 1000
SMALLEST_PAGE = 50
_JWT_LIFE_SECONDS = 300

TableRow = dict[str, Any]


class ServiceNowClient(SaasClient):
    """GET requests to one instance."""

    token_path: ClassVar[str] = "/oauth_token.do"  # noqa: S105 - a path

    async def _login_headers(self) -> dict[str, str]:
        auth = self.connection.auth
        if isinstance(auth, Basic):
            login = f"{auth.username}:{auth.password.read().get_secret_value()}"
            return {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}
        if isinstance(auth, ApiKey):
            return {"x-sn-apikey": auth.key.read().get_secret_value()}
        answer = await self.post_token(self._grant())
        try:
            document = answer.json()
        except ReadError as error:
            message = f"{self.connection.label}: the token endpoint answers HTTP {answer.status} and no JSON"
            raise UnreachableError(message) from error
        token = document.get("access_token") if isinstance(document, dict) else None
        if answer.status != 200 or not token:
            raise CredentialsError(f"{self.connection.label}: {self._token_cause(document)}")
        return {"Authorization": f"Bearer {token}"}

    def _token_cause(self, document: Any) -> str:  # noqa: ANN401
        error = document.get("error") if isinstance(document, dict) else None
        if error == "unauthorized_client":
            return "the token request was refused: set the OAuth Application User in the client's registry entry"
        hint = (
            "; the property glide.oauth.inbound.client.credential.grant_type.enabled must be true"
            if isinstance(self.connection.auth, ClientCredentials)
            else ""
        )
        said = bodies.quoted(error or "no reason")
        return f"the token request was refused ({said}): check client id, secret and user{hint}"

    def _grant(self) -> dict[str, str]:
        auth = self.connection.auth
        if isinstance(auth, JwtBearer):
            secret = auth.client_secret.read().get_secret_value() if auth.client_secret else ""
            return {
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "client_id": auth.client_id,
                "client_secret": secret,
                "assertion": self._assertion(auth),
            }
        if not isinstance(auth, ClientCredentials | OAuthPassword):
            raise CredentialsError(f"{self.connection.label}: ServiceNow does not know the method {auth.method}")
        grant = {"client_id": auth.client_id, "client_secret": auth.client_secret.read().get_secret_value()}
        if isinstance(auth, OAuthPassword):
            password = auth.password.read().get_secret_value()
            return {**grant, "grant_type": "password", "username": auth.username, "password": password}
        return {**grant, "grant_type": "client_credentials"}

    def _assertion(self, auth: JwtBearer) -> str:
        now = int(time.time())
        claims = {
            "iss": auth.client_id,
            "sub": auth.username,
            "aud": auth.audience or auth.client_id,
            "iat": now,
            "exp": now + _JWT_LIFE_SECONDS,
            "jti": str(uuid.uuid4()),
        }
        headers = {"kid": auth.key_id} if auth.key_id else None
        try:
            return jwt.encode(claims, auth.private_key.read().get_secret_value(), algorithm="RS256", headers=headers)
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise CredentialsError(f"{self.connection.label}: the private key is no RSA key in PEM form") from error

    def _is_session_lost(self, answer: Answer) -> bool:
        return answer.status == 401

    def _impostor(self, answer: Answer) -> str | None:
        text = answer.body[:20000].lower() if answer.is_page else b""
        if b"hibernat" in text or redirect_host(answer) == "developer.servicenow.com":
            return "the instance is hibernating; wake it on the developer site, then scan again"
        if b"login.do" in text and answer.status == 200:
            return "the instance answers with its login page; check its API access policies"
        return None

    def _refusal(self, answer: Answer) -> Exception | None:
        if answer.status == 200:
            if "json" not in answer.headers.get("content-type", ""):
                return TransientError("the answer is no JSON but a page", code="not_json")
            return None
        message, detail = _error_text(answer)
        text = f"{message} ({detail})" if detail else message
        code = f"http_{answer.status}"
        if answer.status == 400 and message.startswith("Invalid table"):
            return ReadError(DatasetState.UNSUPPORTED, code, text)
        if answer.status in (401, 403):
            return ReadError(DatasetState.DENIED, code, text)
        return ReadError(DatasetState.ERROR, code, text)

    def rows(self, table: str, query: str, fields: str) -> "TableRows":
        """The rows of a table; its pages are read as they are asked for."""
        return TableRows(self, table, query, fields)

    async def page(
        self, table: str, query: str, fields: str, size: int, offset: int
    ) -> tuple[list[TableRow], int | None]:
        """One page and the total that the instance reports, before access rules."""
        params = {
            "sysparm_query": query,
            "sysparm_fields": fields,
            "sysparm_limit": str(size),
            "sysparm_offset": str(offset),
            "sysparm_exclude_reference_link": "true",
            "sysparm_display_value": "false",
            "sysparm_no_count": "false",
        }
        answer = await self.get(f"/api/now/table/{table}", params)
        document = answer.json()
        result = document.get("result") if isinstance(document, dict) else None
        if isinstance(document, dict) and "error" in document:
            message = _error_text(answer)[0]
            raise ReadError(DatasetState.ERROR, "cancelled", message, can_halve=True)
        if not isinstance(result, list):
            raise ReadError(DatasetState.ERROR, "broken_answer", "the answer holds no rows", can_halve=True)
        total = answer.headers.get("x-total-count", "")
        if not all(isinstance(row, dict) for row in result):
            raise ReadError(DatasetState.ERROR, "broken_answer", "the answer holds something that is no row")
        return result, int(total) if total.isdigit() else None


class PageSource(Protocol):
    """Where `TableRows` gets its pages: the client, or a table in a test."""

    async def page(
        self, table: str, query: str, fields: str, size: int, offset: int
    ) -> tuple[list[TableRow], int | None]:
        """See `ServiceNowClient.page`."""


class _Paging(Enum):
    """How the next page is asked for, from the safest way to the last resort."""

    BY_KEY = "sys_id>LAST, in order"
    BY_OFFSET = "offset, in order"
    UNORDERED = "offset, in whatever order the instance likes"


class TableRows:
    """The pages of one table, each row once. `fields` must name sys_id, by which pages are told apart.

    Paging goes by key, which holds when rows come and go. Where the instance forbids range queries it goes by offset,
    and where it forbids sorting as well, without order: then rows may be missed, which `reported` against `count`
    tells. A page is short, even empty, when access rules trim it after the limit, so only the total that the instance
    reports says where the end is.
    """

    def __init__(self, source: PageSource, table: str, query: str, fields: str) -> None:
        self._source, self._table, self._query, self._fields = source, table, query, fields
        self._size = PAGE_ROWS
        self._paging, self._last, self._offset = _Paging.BY_KEY, "", 0
        self._seen: set[str] = set()
        self.reported: int | None = None
        self.count = 0

    async def __aiter__(self) -> AsyncIterator[list[TableRow]]:
        """The rows, page by page. Raises ReadError when the table cannot be read to its end."""
        at_end = False
        while not at_end:
            try:
                rows, total = await self._read()
            except ReadError as failure:
                if failure.state is not DatasetState.DENIED or not self._fall_back():
                    raise
                continue
            if self.reported is None:
                self.reported = total
            at_end = not rows if total is None else self._offset + self._size >= total
            is_whole = at_end and self._offset == 0 and not self._last
            fresh = rows if is_whole else self._fresh(rows)
            if not at_end:
                self._move_on(rows, fresh)
            if fresh:
                self.count += len(fresh)
                yield fresh

    def require_whole(self) -> None:
        """After the last page. Raises ReadError (truncated) when rows of the table are hidden."""
        if self.reported is not None and self.count < self.reported:
            message = f"{self.count} of {self.reported} rows of {self._table} could be read"
            raise ReadError(DatasetState.TRUNCATED, "hidden_rows", message)

    async def _read(self) -> tuple[list[TableRow], int | None]:
        parts = [self._query] if self._query else []
        if self._paging is _Paging.BY_KEY and self._last:
            parts.insert(0, f"sys_id>{self._last}")
        if self._paging is not _Paging.UNORDERED:
            parts.append("ORDERBYsys_id")
        while True:
            try:
                return await self._source.page(self._table, "^".join(parts), self._fields, self._size, self._offset)
            except ReadError as failure:
                if not failure.can_halve or self._size <= SMALLEST_PAGE:
                    raise
                self._size //= 2

    def _fall_back(self) -> bool:
        """Take the next way of paging after a refusal; False when there is none, or none that could help."""
        if self._paging is _Paging.BY_KEY and self._last:
            self._paging, self._offset = _Paging.BY_OFFSET, self.count
            return True
        if not self.count and self._paging is not _Paging.UNORDERED:
            self._paging = _Paging.UNORDERED
            return True
        return False

    def _fresh(self, rows: list[TableRow]) -> list[TableRow]:
        if self._paging is _Paging.UNORDERED:
            found = [row for row in rows if _sys_id(row) not in self._seen]
            self._seen.update(map(_sys_id, found))
            return found
        return [row for row in rows if _sys_id(row) > self._last.lower()]

    def _move_on(self, rows: list[TableRow], fresh: list[TableRow]) -> None:
        if self._paging is _Paging.BY_KEY and rows and not fresh:
            # The instance left the key out of its query, as it does with parts that it does not understand.
            self._paging, self._offset = _Paging.BY_OFFSET, self.count
        elif self._paging is _Paging.BY_KEY and fresh:
            self._last, self._offset = str(fresh[-1]["sys_id"]), 0
        else:
            self._offset += self._size
            self._last = str(fresh[-1]["sys_id"]) if fresh else self._last


def _sys_id(row: TableRow) -> str:
    """The record id, comparable as the database compares it. Raises ReadError when the row carries none."""
    found = row.get("sys_id")
    if not isinstance(found, str) or not found:
        raise ReadError(DatasetState.DENIED, "no_sys_id", "a row comes without its sys_id, which is hidden")
    return found.lower()


def _error_text(answer: Answer) -> tuple[str, str | None]:
    try:
        document = answer.json()
    except ReadError:
        return f"HTTP {answer.status} without JSON", None
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return f"HTTP {answer.status}", None
    detail = error.get("detail")
    return bodies.quoted(error.get("message") or f"HTTP {answer.status}"), bodies.quoted(detail) if detail else None
