"""HTTP to a SaaS product: login, bounded answers, retries with Retry-After, renewal of tokens, no way to write."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
import structlog
from plumbline_contracts.events import DatasetState
from plumbline_contracts.network import checked_client
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection, SecretError
from plumbline_collector.connectors import bodies
from plumbline_collector.connectors.patience import Patience
from plumbline_collector.errors import CollectorError, CredentialsError, ReadError, UnreachableError
from plumbline_collector.network import ReadingTransport

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 8 * 1024 * 1024
"""A page of 2,000 rows with 4 KB each; our rows are far smaller."""
MAX_TOKEN_BODY_BYTES = 256 * 1024
TOTAL_SECONDS = 75.0
"""Just above the minute after which ServiceNow ends a request itself."""
TOKEN_SECONDS = 30.0
TIMEOUT = httpx.Timeout(connect=10, read=75, write=10, pool=60)
ATTEMPTS = 4
LONGEST_WAIT_SECONDS = 30.0
LONGEST_NUMBER = 12
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
    seconds: float = 0.0

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


usage_here: ContextVar[Usage | None] = ContextVar("usage_here", default=None)
"""What the running task alone has sent and received; None: nobody counts."""


class TransientError(Exception):
    """An answer or a failure that may be gone in a moment."""

    def __init__(self, message: str, *, code: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


class BrokenAnswerError(ReadError):
    """No answer that can be read: too slow, too large, damaged. It is not tried again: each try would cost as much."""


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, TransientError) else None
    backoff = wait_random_exponential(multiplier=0.5, max=10)(state)
    return backoff if asked is None else max(asked, min(backoff, 0.5))


class SaasClient(ABC):
    """GET requests to one instance. Subclasses know the login and the product's errors."""

    token_path: ClassVar[str]

    def __init__(self, connection: Connection, budget: CallBudget, *, is_lenient: bool = False) -> None:
        """With `is_lenient`, what would end the collection once the login has worked only ends a dataset, and a person
        waits, so that a small org is read within two minutes or not whole."""
        self.connection = connection
        self.budget = budget
        self._is_lenient, self._is_admitted = is_lenient, False
        self.patience = Patience(is_short=is_lenient)
        self.base = connection.url.rstrip("/")
        self.usage = Usage()
        self._authorization: dict[str, str] | None = None
        self._login = asyncio.Lock()
        transport = ReadingTransport(
            token_path=self.token_path,
            allow_private=connection.allow_private_network,
            allow_http=connection.allow_http,
        )
        headers = {"Accept": "application/json", "User-Agent": "plumbline-collector", "Accept-Encoding": "gzip"}
        self._http = checked_client(transport, TIMEOUT, headers)

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

    def _refused_login(self, answer: Answer) -> str:
        """Why even a fresh token is refused, and what to do."""
        return f"a fresh login is refused too (HTTP {answer.status}); is the user active, and may it use the API?"

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

        Raises ReadError for this dataset, CollectorError for the whole connection. When the patience of a collection
        is at its end, or the org's limit is used up, nothing more is sent: all that is left fails at once.
        """
        self._require_patience()
        url = self._same_host(path)
        try:
            answer = await self._tried(lambda: self._once(url, params, headers or {}))
        except CollectorError as error:
            if not (self._is_lenient and self._is_admitted):
                raise
            self.patience.failed(str(error))
            raise ReadError(DatasetState.ERROR, "connection", str(error)) from error
        self.patience.answered()
        return answer

    async def get_open(self, path: str) -> Answer:
        """GET a path that needs no login and that the product does not count against its limits.

        Raises ReadError, and UnreachableError when something else answers in the product's place.
        """
        self._require_patience()
        url = self._same_host(path)
        return await self._tried(lambda: self._send("GET", url, is_counted=False))

    def _require_patience(self) -> None:
        self.patience.check()
        if self.patience.given_up is not None:
            raise ReadError(DatasetState.ERROR, "given_up", self.patience.given_up)

    async def _tried(self, send: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer, after retries if need be. Raises ReadError when they brought none."""
        attempts = 0
        try:
            async for attempt in self._attempts():
                with attempt:
                    attempts = attempt.retry_state.attempt_number
                    with self._losing():
                        return await send()
        except TransientError as error:
            self.patience.failed(str(error))
            times = f"{attempts} times in a row" if attempts > 1 else "and there is no time to try again"
            raise ReadError(DatasetState.ERROR, error.code, f"{error}, {times}") from error
        except BrokenAnswerError as error:
            self.patience.failed(error.message)
            raise
        raise AssertionError("tenacity ends with an answer or an error")

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """What an attempt took is lost when it fails."""
        began = time.monotonic()
        try:
            yield
        except (TransientError, BrokenAnswerError):
            self.patience.lose(time.monotonic() - began)
            raise

    def give_up(self, reason: str) -> None:
        """Send no more requests through this client."""
        self.patience.give_up(reason)

    def _attempts(self) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception_type(TransientError),
            stop=self._is_enough,
            wait=_wait,
            before_sleep=self._tell,
            reraise=True,
        )

    def _is_enough(self, state: RetryCallState) -> bool:
        return state.attempt_number >= ATTEMPTS or state.upcoming_sleep >= self.patience.left_seconds

    def _tell(self, state: RetryCallState) -> None:
        self.patience.lose(state.upcoming_sleep)
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
                raise CredentialsError(f"{self.connection.label}: {self._refused_login(answer)}")
        if refusal := self._refusal(answer):
            raise refusal
        self._is_admitted = True
        return answer

    async def post_token(self, form: Mapping[str, str]) -> Answer:
        """The token request, the only POST there is. Tried again on transient failures. Raises ReadError."""
        return await self._tried(lambda: self._send("POST", self.base + self.token_path, data=form))

    async def _send(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        is_counted: bool = True,
    ) -> Answer:
        if is_counted:
            self.budget.take()
            await asyncio.sleep(self.budget.pause_seconds)
        for usage in self._usages():
            usage.calls += 1
        is_get = method == "GET"
        limit, most = (MAX_BODY_BYTES, TOTAL_SECONDS) if is_get else (MAX_TOKEN_BODY_BYTES, TOKEN_SECONDS)
        seconds, began = self.patience.attempt_seconds(most), time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                async with self._http.stream(method, url, params=params, headers=headers, data=data) as response:
                    body = await bodies.read_bounded(response, limit)
        except TimeoutError as error:
            raise BrokenAnswerError(DatasetState.ERROR, "timeout", f"no whole answer within {seconds:.0f} s") from error
        except ReadError as error:
            raise BrokenAnswerError(error.state, error.code, error.message) from error
        except httpx.LocalProtocolError:
            # Its text quotes the header, and with it the secret.
            message = "the login holds a character that no HTTP header may hold, such as a line end"
            raise CredentialsError(f"{self.connection.label}: {message}; write the secret again") from None
        except httpx.RequestError as error:
            raise TransientError(_lost(error), code="transport") from error
        for usage in self._usages():
            usage.bytes += len(body)
        safe = bodies.without(_sent_secrets(headers, data), body)
        answer = Answer(response.status_code, response.headers, safe, time.monotonic() - began)
        self._observe_rate_limit(answer.headers)
        self._check_origin(answer)
        if answer.status in TRANSIENT:
            raise self._limit(answer) or _transient(answer)
        return answer

    def _usages(self) -> Iterator[Usage]:
        yield self.usage
        if here := usage_here.get():
            yield here

    def _observe_rate_limit(self, headers: httpx.Headers) -> None:
        """The hourly rule that the product says to apply to us, if it says any."""
        limit, reset = headers.get("x-ratelimit-limit", ""), headers.get("x-ratelimit-reset", "")
        if all(text.isascii() and text.isdigit() and len(text) < LONGEST_NUMBER for text in (limit, reset)) and int(
            limit
        ):
            self.budget.observe_window(int(limit), float(reset))

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


def _lost(error: httpx.RequestError) -> str:
    """What happened to a request that got no answer, and what to look at."""
    text = str(error) or "connection lost"
    hint = ""
    if "certificate" in text.lower():
        hint = "; check the host in url, and for a certificate authority of your own set SSL_CERT_FILE"
    elif isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        hint = "; check url, and whether this machine may reach it"
    return f"{type(error).__name__}: {text}{hint}"


def _transient(answer: Answer) -> Exception:
    seconds = _seconds_to_wait(answer.headers.get("retry-after", ""))
    code = f"http_{answer.status}"
    if seconds is not None and seconds > LONGEST_WAIT_SECONDS:
        message = f"the product asks to wait {seconds:.0f} s (HTTP {answer.status}); it is asked again next time"
        return BrokenAnswerError(DatasetState.ERROR, code, message)
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
