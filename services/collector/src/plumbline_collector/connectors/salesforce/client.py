"""HTTP to a Salesforce org: OAuth, SOQL queries with paging, the product's errors and limits.

Sources: REST API Developer Guide (query, status codes, Sforce-Limit-Info), OAuth 2.0 flows.
"""

import re
import time
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import jwt
from plumbline_contracts.events import DatasetState

from plumbline_collector.connections import ClientCredentials, JwtBearer, UsernamePassword
from plumbline_collector.connectors import bodies
from plumbline_collector.connectors.saas_client import Answer, SaasClient, TransientError
from plumbline_collector.errors import CredentialsError, ReadError, UnreachableError

API_VERSION = "66.0"
ROOT = f"/services/data/v{API_VERSION}"
_JWT_LIFE_SECONDS = 170
_LIMIT = re.compile(r"(?<![\w-])api-usage=(\d+)/(\d+)")

_TOKEN_CAUSES = {
    "authentication failure": "the user name or password is wrong, or OAuth and OpenID Connect Settings block the flow",
    "user hasn't approved this consumer": "set the app's permitted users to admin-approved and assign it to the user",
    "no client credentials user enabled": "set the Run As user in the app's client credentials flow",
    "request not supported on this domain": "use the org's My Domain URL instead of login or test.salesforce.com",
    "audience is invalid": "set audience to https://login.salesforce.com, or https://test.salesforce.com for a sandbox",
    "Audience validation failed": "set audience to https://login.salesforce.com, or https://test.salesforce.com",
    "invalid assertion": "check the certificate of the app and the machine's clock",
    "inactive user": "activate the integration user",
    "invalid client credentials": "the consumer secret is wrong",
    "client identifier invalid": "the consumer key is wrong",
    "expired access/refresh token": "the token was revoked; connect again",
}
_LIMIT_ERRORS = frozenset({"REQUEST_LIMIT_EXCEEDED", "rate_limit_exceeded"})
_AMBIGUOUS = frozenset({"INVALID_TYPE", "INVALID_FIELD", "NOT_FOUND"})
_REFUSED = frozenset({"INSUFFICIENT_ACCESS", "INSUFFICIENT_ACCESS_OR_READONLY", "API_DISABLED_FOR_ORG", "FORBIDDEN"})


class SalesforceClient(SaasClient):
    """GET requests to one org."""

    token_path: ClassVar[str] = "/services/oauth2/token"  # noqa: S105 - a path

    async def _login_headers(self) -> dict[str, str]:
        answer = await self.post_token(self._grant())
        document = self._token_document(answer)
        if document.get("error") in _LIMIT_ERRORS:
            raise UnreachableError(
                f"{self.connection.label}: the org's API limit is used up, so not even a login is possible; "
                "it is tried again later"
            )
        if answer.status != 200 or not document.get("access_token"):
            description = bodies.quoted(document.get("error_description") or "")
            cause = _TOKEN_CAUSES.get(description, "check the connection's auth section and the app in Setup")
            said = bodies.quoted(document.get("error") or f"HTTP {answer.status}")
            raise CredentialsError(
                f"{self.connection.label}: the token request was refused "
                f"({said}: {description or 'no description'}): {cause}"
            )
        return {"Authorization": f"Bearer {document['access_token']}"}

    def _token_document(self, answer: Answer) -> dict[str, Any]:
        try:
            document = answer.json()
        except ReadError as error:
            raise UnreachableError(
                f"{self.connection.label}: the token endpoint answers HTTP {answer.status} and no JSON; "
                f"is {self.base} the org's My Domain URL?"
            ) from error
        if isinstance(document, list):
            first = document[0] if document and isinstance(document[0], dict) else {}
            return {"error": first.get("errorCode"), "error_description": first.get("message")}
        return document if isinstance(document, dict) else {}

    def _grant(self) -> dict[str, str]:
        auth = self.connection.auth
        if isinstance(auth, JwtBearer):
            claims = {
                "iss": auth.client_id,
                "sub": auth.username,
                "aud": auth.audience or "https://login.salesforce.com",
                "exp": int(time.time()) + _JWT_LIFE_SECONDS,
            }
            assertion = self._sign(claims, auth.private_key.read().get_secret_value())
            return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        if not isinstance(auth, ClientCredentials | UsernamePassword):
            raise CredentialsError(f"{self.connection.label}: Salesforce does not know the method {auth.method}")
        grant = {"client_id": auth.client_id, "client_secret": auth.client_secret.read().get_secret_value()}
        if isinstance(auth, UsernamePassword):
            password = auth.password.read().get_secret_value()
            return {**grant, "grant_type": "password", "username": auth.username, "password": password}
        return {**grant, "grant_type": "client_credentials"}

    def _sign(self, claims: dict[str, Any], key: str) -> str:
        try:
            return jwt.encode(claims, key, algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise CredentialsError(f"{self.connection.label}: the private key is no RSA key in PEM form") from error

    def _impostor(self, answer: Answer) -> str | None:
        if answer.status == 200 and answer.is_page:
            return f"a web page answers in place of the API; is {self.base} the org's My Domain URL?"
        return None

    def _is_session_lost(self, answer: Answer) -> bool:
        return answer.status == 401

    def _limit(self, answer: Answer) -> Exception | None:
        return self._refusal(answer) if _first_error(answer)[0] in _LIMIT_ERRORS else None

    def _refusal(self, answer: Answer) -> Exception | None:
        if match := _LIMIT.search(answer.headers.get("sforce-limit-info", "")):
            self.budget.observe(int(match.group(1)), int(match.group(2)))
        if answer.status == 200:
            return _broken(answer)
        code, message = _first_error(answer)
        if code in _LIMIT_ERRORS:
            text = f"the org's API limit is reached: {message}"
            # A limit of calls at once is gone in a moment, the daily one is not.
            if message.startswith("Concurrent"):
                return TransientError(text, code=code)
            self.give_up(text)
            return ReadError(DatasetState.ERROR, code, text)
        if code in _AMBIGUOUS or code in _REFUSED or answer.status == 403:
            # Salesforce says INVALID_TYPE and INVALID_FIELD for what is not there and for what may not be seen alike.
            return ReadError(DatasetState.DENIED, code, message)
        if answer.status == 410:
            return ReadError(DatasetState.UNSUPPORTED, code, f"API version {API_VERSION} is not served by this org")
        return ReadError(DatasetState.ERROR, code, message)

    async def query(self, soql: str, *, tooling: bool = False) -> "QueryPages":
        """Start a query; its pages are read as they are asked for."""
        path = f"{ROOT}/tooling/query" if tooling else f"{ROOT}/query"
        return QueryPages(self, self._page((await self.get(path, {"q": soql})).json()))

    async def next_page(self, link: str) -> dict[str, Any]:
        """The page that a `nextRecordsUrl` names."""
        return self._page((await self.get(link)).json())

    async def count(self, soql: str) -> int:
        """The `totalSize` of a query, of which only the first page is fetched."""
        return int(self._page((await self.get(f"{ROOT}/query", {"q": soql})).json())["totalSize"])

    @staticmethod
    def _page(document: Any) -> dict[str, Any]:  # noqa: ANN401
        records = document.get("records") if isinstance(document, dict) else None
        is_result = (
            isinstance(records, list)
            and isinstance(document.get("totalSize"), int)
            and all(isinstance(record, dict) for record in records)
        )
        if not is_result:
            raise ReadError(DatasetState.ERROR, "broken_answer", "the answer is no query result")
        return dict(document)


class QueryPages:
    """The pages of one query. `reported` is how many rows the org says there are, `count` how many came so far."""

    def __init__(self, client: SalesforceClient, first: dict[str, Any]) -> None:
        self._client, self._first = client, first
        self.reported = int(first["totalSize"])
        self.count = 0

    async def __aiter__(self) -> AsyncIterator[list[dict[str, Any]]]:
        """The records, page by page. Raises ReadError when the pages lead astray or never end."""
        page, seen = self._first, set()
        while True:
            records: list[dict[str, Any]] = page["records"]
            self.count += len(records)
            if self.count > self.reported:
                raise _broken_paging("more rows came than the org counts")
            if records:
                yield records
            if page.get("done") is True:
                return
            link = page.get("nextRecordsUrl")
            if not records or not isinstance(link, str) or link in seen:
                raise _broken_paging("the pages do not lead to an end")
            seen.add(link)
            page = await self._client.next_page(link)

    def require_whole(self, name: str) -> None:
        """After the last page. Raises ReadError (truncated) when rows of the object are hidden."""
        if self.count < self.reported:
            message = f"{self.count} of {self.reported} rows of {name} could be read"
            raise ReadError(DatasetState.TRUNCATED, "hidden_rows", message)


def _broken_paging(message: str) -> ReadError:
    return ReadError(DatasetState.ERROR, "broken_paging", message)


def _broken(answer: Answer) -> Exception | None:
    """A cut answer is asked for again; None when the answer is JSON."""
    try:
        answer.json()
    except ReadError as error:
        return TransientError(error.message, code=error.code)
    return None


def _first_error(answer: Answer) -> tuple[str, str]:
    try:
        document = answer.json()
    except ReadError:
        return f"http_{answer.status}", "the answer is no JSON"
    entry = document[0] if isinstance(document, list) and document else document
    if not isinstance(entry, dict):
        return f"http_{answer.status}", "the answer names no error"
    message = str(entry.get("message", "")).strip().splitlines()
    code = bodies.quoted(entry.get("errorCode") or f"http_{answer.status}")
    return code, bodies.quoted(message[-1]) if message else "no message"
