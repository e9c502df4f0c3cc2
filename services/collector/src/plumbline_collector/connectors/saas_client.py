"""HTTP to a SaaS product: login, bounded answers, retries with Retry-After, renewal of tokens, no way to write."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
import structlog
from plumbline_contracts.events import DatasetState
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection, SecretError
from plumbline_collector.connectors import bodies
from plumbline_collector.errors import CollectorError, CredentialsError, ReadError, UnreachableError
from plumbline_collector.network import CheckedTransport, no_cookies

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 8 * 1024 * 1024
"""A page of 2,000 rows with 4 KB each; our rows are far smaller."""
MAX_TOKEN_BODY_BYTES = 256 * 1024
TOTAL_SECONDS = 120.0
TOKEN_SECONDS = 30.0
FAILURES_IN_A_ROW = 3
TIMEOUT = httpx.Timeout(connect=10, read=75, write=10, pool=60)
ATTEMPTS = 4
LONGEST_WAIT_SECONDS = 30.0
TRANSIENT = frozenset({420, 429, 500, 502, 503, 504})
NO_SECRETS = frozenset({"grant_type", "client_id", "username"})
WITHOUT_TOKEN = ("basic", "api_key")
"""Methods whose login sends nothing of its own, so that only an answer shows whether it works."""


@dataclass(frozen=True)
class Answer:
    """A response whose body was read whole, within bounds."""

    status: int
    headers: httpx.Headers
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - whatever the product sent
        """The body as JSON. Raises ReadError (error) when it is none."""
        return self._document

    @cached_property
    def _document(self) -> Any:  # noqa: ANN401
        try:
            return bodies.parse_json(self.body)
        except (ValueError, RecursionError) as error:
            message = "the answer is no valid JSON; it may have been cut"
            raise ReadError(DatasetState.ERROR, "broken_json", message, can_halve=True) from error

    @property
    def is_page(self) -> bool:
        """Whether it is a web page, for people."""
        return "html" in self.headers.get("content-type", "")


@dataclass
class Usage:
    """What a client has sent and received so far, the token requests and retries included."""

    calls: int = 0
    bytes: int = 0


class TransientError(Exception):
    """An answer or a failure that may be gone in a moment."""

    def __init__(self, message: str, *, code: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


class SlowAnswerError(ReadError):
    """No whole answer in time. It is not asked for again: each try would cost as much."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(DatasetState.ERROR, code, message)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, TransientError) else None
    backoff = wait_random_exponential(multiplier=0.5, max=10)(state)
    return backoff if asked is None else max(asked, min(backoff, 0.5))


class SaasClient(ABC):
    """GET requests to one instance. Subclasses know the login and the product's errors."""

    token_path: ClassVar[str]

    def __init__(self, connection: Connection, budget: CallBudget, *, is_lenient: bool = False) -> None:
        """With `is_lenient`, what would end the collection once the login has worked only ends a dataset."""
        self.connection = connection
        self.budget = budget
        self._is_lenient, self._is_admitted = is_lenient, False
        self._failures_in_a_row = 0
        self._given_up: str | None = None
        self.base = connection.url.rstrip("/")
        self.usage = Usage()
        self._authorization: dict[str, str] | None = None
        self._login = asyncio.Lock()
        self._http = httpx.AsyncClient(
            transport=CheckedTransport(
                token_path=self.token_path,
                allow_private=connection.allow_private_network,
                allow_http=connection.allow_http,
            ),
            timeout=TIMEOUT,
            follow_redirects=False,
            trust_env=False,
            cookies=no_cookies(),
            headers={"Accept": "application/json", "User-Agent": "plumbline-collector", "Accept-Encoding": "gzip"},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    @abstractmethod
    async def _login_headers(self) -> dict[str, str]:
        """The headers that authenticate a request, asking for a token if one is needed. Raises CredentialsError."""

    @abstractmethod
    def _impostor(self, answer: Answer) -> str | None:
        """What answers in the product's place (a sleeping instance, a login page) and what to do; None: the product."""

    @abstractmethod
    def _is_session_lost(self, answer: Answer) -> bool:
        """Whether the answer means that the token ended."""

    @abstractmethod
    def _refusal(self, answer: Answer) -> Exception | None:
        """The error of an answer that is not what was asked for; None when it is. TransientError is tried again."""

    async def authenticate(self) -> None:
        """Make sure that a login is there. Raises CredentialsError, UnreachableError or RefusedByRulesError."""
        async with self._login:
            if self._authorization is None:
                try:
                    self._authorization = await self._login_headers()
                    self._is_admitted = self._is_admitted or self.connection.auth.method not in WITHOUT_TOKEN
                except SecretError as error:
                    raise CredentialsError(f"{self.connection.label}: {error}") from error
                except ReadError as error:
                    raise UnreachableError(f"{self.connection.label}: the token request failed: {error}") from error

    async def get(
        self, path: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """GET a path of the instance, or a paging link on the same host.

        Raises ReadError for this dataset, CollectorError for the whole connection. After a few failures in a row, or
        when the org's limit is used up, nothing more is sent: all that is left fails at once.
        """
        if self._given_up is not None:
            raise ReadError(DatasetState.ERROR, "given_up", self._given_up)
        url = self._same_host(path)
        try:
            async for attempt in self._attempts():
                with attempt:
                    answer = await self._once(url, params, headers or {})
                    self._failures_in_a_row = 0
                    return answer
        except TransientError as error:
            self._count_failure(str(error))
            raise ReadError(DatasetState.ERROR, error.code, f"{error}, {ATTEMPTS} times in a row") from error
        except SlowAnswerError as error:
            self._count_failure(error.message)
            raise
        except CollectorError as error:
            if not (self._is_lenient and self._is_admitted):
                raise
            raise ReadError(DatasetState.ERROR, "connection", str(error)) from error
        raise AssertionError("tenacity ends with an answer or an error")

    def _count_failure(self, problem: str) -> None:
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= FAILURES_IN_A_ROW:
            self.give_up(f"{FAILURES_IN_A_ROW} requests in a row failed, the last with: {problem}")

    def give_up(self, reason: str) -> None:
        """Send no more requests through this client."""
        self._given_up = f"{reason}; nothing more is asked until the next run"

    def _attempts(self) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=_wait,
            before_sleep=self._tell,
            reraise=True,
        )

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning(
            "request tried again",
            tenant=self.connection.tenant,
            instance=self.connection.instance,
            problem=str(error),
            attempt=state.attempt_number,
            wait_seconds=round(state.upcoming_sleep, 2),
        )

    def _same_host(self, path: str) -> str:
        try:
            base = httpx.URL(self.base)
            url = base.join(path)
        except (ValueError, httpx.InvalidURL) as error:
            raise ReadError(DatasetState.ERROR, "broken_paging", "a paging link is no address") from error
        if (url.scheme, url.netloc, url.userinfo) != (base.scheme, base.netloc, b""):
            message = f"a paging link leads to another host ({url.host}); it is not followed"
            raise ReadError(DatasetState.ERROR, "foreign_link", message)
        return str(url)

    async def _once(self, url: str, params: Mapping[str, str] | None, headers: Mapping[str, str]) -> Answer:
        await self.authenticate()
        used = self._authorization
        answer = await self._send("GET", url, params=params, headers={**headers, **(used or {})})
        if self._is_session_lost(answer):
            if self._authorization is used:
                self._authorization = None
            await self.authenticate()
            answer = await self._send("GET", url, params=params, headers={**headers, **(self._authorization or {})})
            if self._is_session_lost(answer):
                raise CredentialsError(f"{self.connection.label}: a fresh login is refused too (HTTP {answer.status})")
        if refusal := self._refusal(answer):
            raise refusal
        self._is_admitted = True
        return answer

    async def post_token(self, form: Mapping[str, str]) -> Answer:
        """The token request, the only POST there is. Tried again on transient failures."""
        try:
            async for attempt in self._attempts():
                with attempt:
                    return await self._send("POST", self.base + self.token_path, data=form)
        except TransientError as error:
            raise UnreachableError(f"{self.connection.label}: the token request failed: {error}") from error
        raise AssertionError("tenacity ends with an answer or an error")

    async def _send(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
    ) -> Answer:
        self.budget.take()
        self.usage.calls += 1
        is_get = method == "GET"
        limit, seconds = (MAX_BODY_BYTES, TOTAL_SECONDS) if is_get else (MAX_TOKEN_BODY_BYTES, TOKEN_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                async with self._http.stream(method, url, params=params, headers=headers, data=data) as response:
                    body = await bodies.read_bounded(response, limit)
        except TimeoutError as error:
            raise SlowAnswerError("timeout", f"no whole answer within {seconds:.0f} s") from error
        except ReadError as error:
            if error.code == "too_slow":
                raise SlowAnswerError(error.code, error.message) from error
            raise
        except httpx.RequestError as error:
            raise TransientError(f"{type(error).__name__}: {error or 'connection lost'}", code="transport") from error
        self.usage.bytes += len(body)
        answer = Answer(response.status_code, response.headers, bodies.without(_sent_secrets(headers, data), body))
        self._check_origin(answer)
        if answer.status in TRANSIENT:
            raise self._limit(answer) or _transient(answer)
        return answer

    def _limit(self, answer: Answer) -> Exception | None:
        """The error of an answer that says that a lasting limit is used up; None for any other."""
        return None

    def _check_origin(self, answer: Answer) -> None:
        reason = self._impostor(answer)
        if reason is None and 300 <= answer.status < 400:
            reason = (
                f"the answer redirects to {redirect_host(answer) or 'elsewhere'}; redirects are not followed: "
                "put the product's own address in url"
            )
        if reason is not None:
            raise UnreachableError(f"{self.connection.label}: {reason}")


def redirect_host(answer: Answer) -> str:
    """The host that a redirect names; empty when it names none."""
    location: str = answer.headers.get("location", "")
    try:
        return urlsplit(location).netloc
    except ValueError:
        return ""


def _sent_secrets(headers: Mapping[str, str] | None, data: Mapping[str, str] | None) -> Iterator[str]:
    """Every secret of a request: the credential in its headers, and all of a token request but names and kinds."""
    for value in (headers or {}).values():
        yield value.split()[-1] if value.split() else ""
    for name, value in (data or {}).items():
        if name not in NO_SECRETS:
            yield value


def _transient(answer: Answer) -> Exception:
    seconds = _seconds_to_wait(answer.headers.get("retry-after", ""))
    code = f"http_{answer.status}"
    if seconds is not None and seconds > LONGEST_WAIT_SECONDS:
        message = f"the product asks to wait {seconds:.0f} s (HTTP {answer.status}); it is asked again next time"
        return ReadError(DatasetState.ERROR, code, message)
    return TransientError(f"HTTP {answer.status}", code=code, retry_after=seconds)


def _seconds_to_wait(retry_after: str) -> float | None:
    """What Retry-After asks for, in seconds or as a date (RFC 9110); None when it says nothing that can be read."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, until.replace(tzinfo=until.tzinfo or UTC).timestamp() - time.time())
