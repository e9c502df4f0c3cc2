"""HTTP to a ServiceNow instance: OAuth, key or basic login, the Table API with paging, the product's errors.

Sources: Table API, inbound REST API rate limiting, OAuth inbound.
"""

import base64
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import jwt
from plumbline_contracts.events import DatasetState

from plumbline_collector.connections import ApiKey, Basic, ClientCredentials, JwtBearer, OAuthPassword
from plumbline_collector.connectors.saas_client import Answer, SaasClient, TransientError
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
        self._refuse_page(answer)
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
        return f"the token request was refused ({error or 'no reason'}): check client id, secret and user{hint}"

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

    def _refuse_page(self, answer: Answer) -> None:
        """Raise UnreachableError for the pages that stand before a sleeping or guarded instance."""
        if "html" not in answer.headers.get("content-type", ""):
            return
        label, text = self.connection.label, answer.body[:20000].lower()
        if b"hibernat" in text:
            raise UnreachableError(
                f"{label}: the instance is hibernating; wake it on the developer site, then scan again"
            )
        if b"login.do" in text:
            raise UnreachableError(f"{label}: the instance answers with its login page; check its API access policies")

    def _refusal(self, answer: Answer) -> Exception | None:
        self._refuse_page(answer)
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

    async def rows(self, table: str, query: str, fields: str, *, limit: int | None = None) -> "TableRows":
        """Read a table; its pages are read as they are asked for."""
        return TableRows(self, table, query, fields, limit)

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
        return [row for row in result if isinstance(row, dict)], int(total) if total.isdigit() else None


class TableRows:
    """The pages of one table, in the order of sys_id, each row once.

    Paging goes by key (`sys_id>LAST`), which holds when rows come and go; where the instance forbids range queries it
    goes by offset. A page is short when access rules trim it, so only the reported total says where the end is.
    """

    def __init__(self, client: ServiceNowClient, table: str, query: str, fields: str, limit: int | None) -> None:
        self._client, self._table, self._query, self._fields = client, table, query, fields
        self._limit = limit
        self._size = min(PAGE_ROWS, limit or PAGE_ROWS)
        self.reported: int | None = None

    async def __aiter__(self) -> AsyncIterator[list[TableRow]]:
        last, offset, by_key = "", 0, True
        while True:
            query = f"sys_id>{last}^{self._query}^ORDERBYsys_id" if last and by_key else f"{self._query}^ORDERBYsys_id"
            try:
                rows, total = await self._read(query.lstrip("^"), 0 if by_key else offset)
            except ReadError as failure:
                if not (by_key and last and failure.state is DatasetState.DENIED):
                    raise
                by_key = False
                continue
            if self.reported is None:
                self.reported = total
            fresh = [row for row in rows if str(row.get("sys_id", "")) > last]
            if fresh:
                last = str(fresh[-1]["sys_id"])
                yield fresh
            offset += self._size
            remaining = total if by_key else (total or 0) - offset + self._size
            at_end = remaining is not None and remaining <= self._size
            if self._limit or at_end or (total is None and not rows):
                return
            if not fresh:
                by_key = False

    async def _read(self, query: str, offset: int) -> tuple[list[TableRow], int | None]:
        while True:
            try:
                return await self._client.page(self._table, query, self._fields, self._size, offset)
            except ReadError as failure:
                if not failure.can_halve or self._size <= SMALLEST_PAGE:
                    raise
                self._size //= 2


def _error_text(answer: Answer) -> tuple[str, str | None]:
    try:
        document = answer.json()
    except ReadError:
        return f"HTTP {answer.status} without JSON", None
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return f"HTTP {answer.status}", None
    detail = error.get("detail")
    return str(error.get("message") or f"HTTP {answer.status}"), str(detail) if detail else None
