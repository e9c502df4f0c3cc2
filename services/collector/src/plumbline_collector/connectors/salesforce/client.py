"""HTTP to a Salesforce org: OAuth, SOQL queries with paging, the product's errors and limits.

Sources: REST API Developer Guide (query, status codes, Sforce-Limit-Info), OAuth 2.0 flows.
"""

import re
import time
from typing import Any, ClassVar

import jwt
import structlog
from plumbline_contracts.events import DatasetState

from plumbline_collector.connections import ClientCredentials, JwtBearer, UsernamePassword
from plumbline_collector.connectors import bodies
from plumbline_collector.connectors.saas_client import Answer, SaasClient, TransientError
from plumbline_collector.connectors.salesforce import token_errors
from plumbline_collector.connectors.salesforce.cells import host_of
from plumbline_collector.connectors.salesforce.pages import Pages, Record
from plumbline_collector.connectors.salesforce.soql import Selection
from plumbline_collector.errors import CollectorError, CredentialsError, ReadError, UnreachableError

log = structlog.get_logger(__name__)

VERSIONS = tuple(f"{number}.0" for number in range(66, 61, -1))
"""The API versions that the datasets are written for, the best first."""
API_VERSION = VERSIONS[0]
_LOGIN_HOSTS = frozenset({"login.salesforce.com", "test.salesforce.com"})
_UNKNOWN_COLUMN = re.compile(r"No such column '([^']+)'|understand relationship '([^']+)'|field '([^']+)' can ?not be")
_UNKNOWN_OBJECT = re.compile(r"sObject type '(\w+)'")
_VERSION = re.compile(r"\d{1,4}\.\d", re.ASCII)
_JWT_LIFE_SECONDS = 170
_TOKEN = re.compile(r"[!-~]+")
_LIMIT = re.compile(r"(?<![\w-])api-usage=(\d{1,12})/(\d{1,12})(?!\d)", re.ASCII)

_AMBIGUOUS = frozenset({"INVALID_TYPE", "INVALID_FIELD", "NOT_FOUND"})
_REFUSED = frozenset({"INSUFFICIENT_ACCESS", "INSUFFICIENT_ACCESS_OR_READONLY", "API_DISABLED_FOR_ORG", "FORBIDDEN"})


class SalesforceClient(SaasClient):
    """GET requests to one org."""

    token_path: ClassVar[str] = "/services/oauth2/token"  # noqa: S105 - a path

    version: str = API_VERSION
    """The API version of the requests; `choose_version` sets it."""

    async def _login_headers(self) -> dict[str, str]:
        self._refuse_login_host()
        answer = await self.post_token(self._grant())
        document = self._token_document(answer)
        if not isinstance(document.get("error", ""), str | None):
            raise UnreachableError(
                f"{self.connection.label}: what answers the token request with HTTP {answer.status} is no Salesforce; "
                f"is {self.base} the org's My Domain URL?"
            )
        code = str(document.get("error") or "")
        if code in token_errors.LIMITS:
            raise UnreachableError(
                f"{self.connection.label}: the org's limit of calls or logins is used up ({bodies.quoted(code)}), so "
                "not even a login is possible; it is tried again later"
            )
        if answer.status != 200 or not document.get("access_token"):
            description = bodies.quoted(document.get("error_description") or "")
            said = bodies.quoted(code or f"HTTP {answer.status}")
            raise CredentialsError(
                f"{self.connection.label}: the token request was refused "
                f"({said}: {description or 'no description'}): {token_errors.cause(code, description)}"
            )
        self._require_same_host(document.get("instance_url"))
        return {"Authorization": f"Bearer {self._usable(document['access_token'])}"}

    def _usable(self, token: Any) -> str:  # noqa: ANN401 - whatever the token answer holds
        """A token that may stand in a header. What an HTTP library says of another would quote it."""
        if isinstance(token, str) and _TOKEN.fullmatch(token):
            return token
        raise UnreachableError(
            f"{self.connection.label}: the token endpoint gave a token that no header can carry; "
            f"is {self.base} the org's My Domain URL?"
        )

    def _refuse_login_host(self) -> None:
        """The client credentials flow is served by the org's own domain alone, so nothing is sent to another."""
        if isinstance(self.connection.auth, ClientCredentials) and host_of(self.base) in _LOGIN_HOSTS:
            raise CredentialsError(
                f"{self.connection.label}: client credentials are not accepted by {host_of(self.base)}: "
                f"{token_errors.cause('', 'request not supported on this domain')}"
            )

    def _require_same_host(self, instance_url: Any) -> None:  # noqa: ANN401 - whatever the token answer holds
        """The org that the token is for is the one that the connection names; another is never followed."""
        host = host_of(instance_url) if isinstance(instance_url, str) else ""
        if host and host != host_of(self.base):
            raise CredentialsError(
                f"{self.connection.label}: the token is for {bodies.quoted(host)}, not for {host_of(self.base)}: "
                f"put https://{bodies.quoted(host)} into url if that is your org"
            )

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
            log.warning(
                "the user name and password flow is blocked by default in orgs since Summer '23; "
                "use client credentials or JWT bearer",
                tenant=self.connection.tenant,
                instance=self.connection.instance,
            )
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
        return self._refusal(answer) if _first_error(answer)[0] in token_errors.LIMITS else None

    def _refusal(self, answer: Answer) -> Exception | None:
        if match := _LIMIT.search(answer.headers.get("sforce-limit-info", "")):
            self.budget.observe(int(match.group(1)), int(match.group(2)))
        if answer.status == 200:
            return _broken(answer)
        code, message = _first_error(answer)
        if code in token_errors.LIMITS:
            text = f"the org's API limit is reached: {message}"
            # A limit of calls at once is gone in a moment, the daily one is not.
            if message.startswith("Concurrent"):
                return TransientError(text, code=code)
            self.give_up(text)
            return ReadError(DatasetState.ERROR, code, text)
        if code in _AMBIGUOUS or code in _REFUSED or answer.status == 403:
            # Salesforce says INVALID_TYPE and INVALID_FIELD for what is not there and for what may not be seen alike.
            return ReadError(DatasetState.DENIED, code, _refused_words(code, message))
        if answer.status == 410:
            # It stands in the list of served versions, so this proves nothing about the dataset.
            message = f"the org says that API version {self.version} is retired, although it listed it"
            return ReadError(DatasetState.ERROR, code, message)
        return ReadError(DatasetState.ERROR, code, message)

    @property
    def root(self) -> str:
        """The path under which the chosen API version lies."""
        return f"/services/data/v{self.version}"

    async def served_versions(self) -> list[str]:
        """The API versions that the org lists; needs no login and counts against no limit. Raises ReadError."""
        document = (await self.get_open("/services/data/")).json()
        entries = document if isinstance(document, list) else []
        served = [str(entry.get("version")) for entry in entries if isinstance(entry, dict)]
        if not served or not all(map(_VERSION.fullmatch, served)):
            raise ReadError(DatasetState.ERROR, "broken_answer", "the org does not list its API versions")
        return served

    async def choose_version(self) -> list[str]:
        """Take the best of `VERSIONS` that the org serves; returns all that it serves.

        Raises ReadError when it does not tell, and CollectorError when it serves none of them: an org that cannot be
        asked at all is no org without anything to judge.
        """
        served = await self.served_versions()
        chosen = next((version for version in VERSIONS if version in served), None)
        if chosen is None:
            newest = max(served, key=float)
            raise CollectorError(
                f"{self.connection.label}: the org serves API versions up to {newest} and none of "
                f"{VERSIONS[-1]} to {VERSIONS[0]}; is {self.base} a current org? Otherwise a newer Plumbline is needed"
            )
        self.version = chosen
        return served

    async def pages(self, selection: Selection, after: str = "") -> Pages:
        """Start a query; its further pages are read as they are asked for."""
        return Pages(selection, await self._ask(selection, after), self._ask, self._follow)

    async def count(self, api_object: str) -> int:
        """How many rows of an object the caller may see."""
        return int((await self._ask(Selection(api_object, ("COUNT()",))))["totalSize"])

    async def columns_of(self, api_object: str, *, tooling: bool = False) -> dict[str, str]:
        """Column to label of an object, as far as the caller may see them."""
        branch = "/tooling" if tooling else ""
        document = (await self.get(f"{self.root}{branch}/sobjects/{api_object}/describe")).json()
        fields = document.get("fields") if isinstance(document, dict) else None
        if not isinstance(fields, list):
            raise ReadError(DatasetState.ERROR, "broken_answer", "the answer is no description of an object")
        return {str(each.get("name")): str(each.get("label")) for each in fields if isinstance(each, dict)}

    async def _ask(self, selection: Selection, after: str = "") -> Record:
        branch = "/tooling" if selection.tooling else ""
        return self._page((await self.get(f"{self.root}{branch}/query", {"q": selection.soql(after=after)})).json())

    async def _follow(self, link: str) -> Record:
        return self._page((await self.get(link)).json())

    @staticmethod
    def _page(document: Any) -> Record:  # noqa: ANN401
        records = document.get("records") if isinstance(document, dict) else None
        total = document.get("totalSize") if isinstance(document, dict) else None
        is_result = (
            isinstance(records, list)
            and type(total) is int
            and total >= 0
            and all(isinstance(record, dict) for record in records)
        )
        if not is_result:
            raise ReadError(DatasetState.ERROR, "broken_answer", "the answer is no query result")
        return dict(document)


def _refused_words(code: str, message: str) -> str:
    """What a refusal says, without Salesforce's advice for developers."""
    match = _UNKNOWN_OBJECT.search(message)
    if code == "INVALID_TYPE" and match:
        return f"the org does not show {match.group(1)} to the collector's user"
    if code in _REFUSED:
        return "the org refuses it to the collector's user: a right is missing"
    return message.partition(". If you are attempting")[0]


def unknown_column(failure: ReadError) -> str | None:
    """The column that an INVALID_FIELD error names; None for any other error."""
    if failure.code != "INVALID_FIELD":
        return None
    match = _UNKNOWN_COLUMN.search(failure.message)
    return next(name for name in match.groups() if name).rsplit(".", 1)[-1] if match else None


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
