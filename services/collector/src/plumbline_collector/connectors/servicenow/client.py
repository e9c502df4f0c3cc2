"""HTTP to a ServiceNow instance: OAuth, key or basic login, the Table API page by page.

Sources: Table API, inbound REST API rate limiting, OAuth inbound.
"""

import base64
import re
from itertools import chain
from typing import Any, ClassVar

from plumbline_contracts.events import DatasetState

from plumbline_collector.connections import ApiKey, Basic
from plumbline_collector.connectors.saas_client import Answer, SaasClient
from plumbline_collector.connectors.servicenow import login, refusals
from plumbline_collector.connectors.servicenow.paging import PAGE_ROWS, TableRow, TableRows
from plumbline_collector.errors import CredentialsError, ReadError, UnreachableError

__all__ = ["PAGE_ROWS", "ServiceNowClient", "TableRow", "TableRows"]

_HEADER_VALUE = re.compile(r"[!-~]+")
"""What a credential in a header may be made of. The error of the HTTP library would quote any other."""


class ServiceNowClient(SaasClient):
    """GET requests to one instance."""

    token_path: ClassVar[str] = "/oauth_token.do"  # noqa: S105 - a path

    async def _login_headers(self) -> dict[str, str]:
        auth = self.connection.auth
        if isinstance(auth, Basic):
            pair = f"{auth.username}:{auth.password.read().get_secret_value()}"
            return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        if isinstance(auth, ApiKey):
            return {"x-sn-apikey": self._fit_for_header(auth.key.read().get_secret_value(), "API key")}
        answer = await self.post_token(login.token_form(self.connection))
        if answer.status in (404, 405):
            raise self._elsewhere(answer)
        try:
            document = answer.json()
        except ReadError as error:
            message = f"{self.connection.label}: the token endpoint answers HTTP {answer.status} and no JSON"
            raise UnreachableError(message) from error
        token = document.get("access_token") if isinstance(document, dict) else None
        if answer.status != 200 or not isinstance(token, str) or not token:
            raise CredentialsError(f"{self.connection.label}: {login.token_cause(self.connection, document)}")
        return {"Authorization": f"Bearer {self._fit_for_header(token, 'token from the token endpoint')}"}

    def _fit_for_header(self, secret: str, what: str) -> str:
        """The secret. Raises CredentialsError, which does not quote it, when no header could carry it."""
        if _HEADER_VALUE.fullmatch(secret):
            return secret
        message = f"the {what} holds a line end, a space or a letter outside ASCII, which no header carries"
        raise CredentialsError(f"{self.connection.label}: {message}; look at where it comes from")

    @property
    def _has_token(self) -> bool:
        return not isinstance(self.connection.auth, Basic | ApiKey)

    def _is_session_lost(self, answer: Answer) -> bool:
        return answer.status == 401 and self._has_token

    def _impostor(self, answer: Answer) -> str | None:
        return refusals.impostor(answer)

    def _refusal(self, answer: Answer) -> Exception | None:
        if answer.status == 401:
            return CredentialsError(f"{self.connection.label}: {self._refused_login(answer)}")
        if answer.status == 404 and not refusals.is_from_instance(answer):
            return self._elsewhere(answer)
        return refusals.refusal(answer)

    def _elsewhere(self, answer: Answer) -> UnreachableError:
        found = f"{self.connection.url} answers HTTP {answer.status}, as no ServiceNow instance does"
        return UnreachableError(f"{self.connection.label}: {found}; is it the instance's address?")

    def _refused_login(self, answer: Answer) -> str:
        needs_code = answer.headers.get("x-mfa_token", "").lower() == "invalid"
        return login.refused_cause(self.connection, needs_code=needs_code)

    def rows(self, table: str, query: str, fields: str) -> TableRows:
        """The rows of a table; its pages are read as they are asked for."""
        return TableRows(self, table, query, fields)

    async def page(
        self, table: str, query: str, fields: str, size: int, offset: int
    ) -> tuple[list[TableRow], int | None]:
        """One page, of whose rows every cell is text, and the total that the instance reports, before access rules.

        A cell that is no text is left out, as one that is hidden.
        """
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
            self.patience.lose(answer.seconds)
            message = refusals.error_text(answer)[0]
            raise ReadError(DatasetState.ERROR, "cancelled", message, can_halve=True)
        if not isinstance(result, list):
            raise ReadError(DatasetState.ERROR, "broken_answer", "the answer holds no rows", can_halve=True)
        if not set(map(type, result)) <= {dict}:
            raise ReadError(DatasetState.ERROR, "broken_answer", "the answer holds something that is no row")
        total = answer.headers.get("x-total-count", "")
        return _of_text(result), int(total) if total.isascii() and total.isdigit() else None


def _of_text(rows: list[dict[str, Any]]) -> list[TableRow]:
    """The rows without cells that are no text: the Table API sends none when it is asked for plain values."""
    kinds = set(map(type, chain.from_iterable(map(dict.values, rows))))
    if kinds <= {str}:
        return rows
    return [{name: cell for name, cell in row.items() if isinstance(cell, str)} for row in rows]
