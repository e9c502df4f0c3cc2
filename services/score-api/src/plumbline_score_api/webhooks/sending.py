"""One attempt: a POST under the network rules, and what it came to. Whatever the target does, it costs little."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from plumbline_contracts.network import CheckedTransport, RefusedByRulesError, checked_client

from plumbline_score_api.webhooks.retrying import retry_after
from plumbline_score_api.webhooks.schemas import Attempt, AttemptOutcome
from plumbline_score_api.webhooks.targets import TargetRules

MOST_ANSWER_BYTES = 16 * 1024
REST_SECONDS = 2.0
"""How long the rest of an answer is waited for. Nobody reads it: its status says everything."""
LONGEST_DETAIL = 200
_HEADERS = {"User-Agent": "plumbline-webhooks", "Content-Type": "application/json", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Sent:
    """An attempt, and for how many seconds the target wants rest."""

    attempt: Attempt
    rest_seconds: float = 0.0


class Sender:
    """Sends bodies to targets. Every attempt has a connection of its own, so that its address is checked."""

    def __init__(self, rules: TargetRules, *, at_once: int, timeout_seconds: float) -> None:
        transport = CheckedTransport(
            allow_private=rules.allow_private_network,
            allow_http=rules.allow_http,
            max_connections=at_once,
            keeps=False,
        )
        self._http = checked_client(transport, timeout_seconds, _HEADERS)
        self._timeout_seconds = timeout_seconds

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Sent:
        """Send a body once."""
        at, began = datetime.now(UTC), time.monotonic()
        outcome, status, asked, detail = await self._try(url, headers, body)
        attempt = Attempt(
            at=at,
            latency_ms=round((time.monotonic() - began) * 1000),
            outcome=outcome,
            response_code=status,
            detail=detail[:LONGEST_DETAIL] if detail else None,
        )
        return Sent(attempt, retry_after(asked, datetime.now(UTC)))

    async def _try(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[AttemptOutcome, int | None, str | None, str | None]:
        """Outcome, status, `Retry-After` and what went wrong. Tells no address that a name leads to."""
        try:
            status, asked = await self._ask(url, headers, body)
        except TimeoutError:
            return AttemptOutcome.TIMEOUT, None, None, f"no answer within {self._timeout_seconds:g} s"
        except RefusedByRulesError:
            detail = "the target is not encrypted, or its address is private or reserved; it is not reached from here"
            return AttemptOutcome.FORBIDDEN, None, None, detail
        except (httpx.InvalidURL, UnicodeError, OverflowError):
            return AttemptOutcome.FORBIDDEN, None, None, "the address is no valid URL"
        except httpx.ConnectError as error:
            return AttemptOutcome.UNREACHABLE, None, None, str(error) or "no connection"
        except httpx.HTTPError as error:
            return AttemptOutcome.UNREACHABLE, None, None, f"the request failed ({type(error).__name__})"
        return *_judged(status), asked, _problem(status)

    async def _ask(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str | None]:
        """Status and `Retry-After` of the answer. Raises TimeoutError, and what httpx and the rules raise."""
        answer: tuple[int, str | None] | None = None
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._http.stream("POST", url, content=body, headers=dict(headers)) as response,
            ):
                answer = response.status_code, response.headers.get("retry-after")
                await _end(response)
        except TimeoutError:
            if answer is None:
                raise
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        assert answer is not None
        return answer


async def _end(response: httpx.Response) -> None:
    """Let a small answer end by itself; a larger or slower one is cut off."""
    size = 0
    with contextlib.suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(REST_SECONDS):
            async for piece in response.aiter_raw():
                size += len(piece)
                if size > MOST_ANSWER_BYTES:
                    return


def _judged(status: int) -> tuple[AttemptOutcome, int]:
    if 200 <= status < 300:
        return AttemptOutcome.DELIVERED, status
    return (AttemptOutcome.GONE if status == 410 else AttemptOutcome.STATUS), status


def _problem(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"HTTP {status}: it sends to another address, which is not followed"
    return f"HTTP {status}"
