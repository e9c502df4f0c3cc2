"""Access tokens for brokers with SASL/OAUTHBEARER: OAuth 2.0 client credentials (RFC 6749, section 4.4).

Needs the extra `http`.
"""

import asyncio
import json
import re
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus

import httpx
from aiokafka.abc import AbstractTokenProvider

from plumbline_contracts.kafka import SecurityFileError, TokenError

TIMEOUT_SECONDS = 10.0
MOST_BYTES = 64 * 1024
RENEWED_BEFORE_SECONDS = 60.0
REFUSALS = frozenset({400, 401, 403, 404})
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]
    """Gives a valid token to every connection, and asks for a new one before the last expires.

    `secret` is read at each request, so that a rotated one is used. May be shared by clients of several event loops.
    """

    def __init__(
        self,
        endpoint: str,
        client_id: str,
        secret: Callable[[], str],
        *,
        scope: str | None,
        context: ssl.SSLContext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint, self._client_id, self._secret, self._scope = endpoint, client_id, secret, scope
        self._context, self._clock = context, clock
        self._lock = threading.Lock()
        self._token, self._renew_at = "", float("-inf")

    async def token(self) -> str:
        """A token that is valid for a while. Raises TokenError."""
        return await asyncio.to_thread(self._current)

    def _current(self) -> str:
        with self._lock:
            now = self._clock()
            if now >= self._renew_at:
                self._token, lifetime_seconds = self._taken(self._ask())
                self._renew_at = now + lifetime_seconds - min(RENEWED_BEFORE_SECONDS, lifetime_seconds / 5)
            return self._token

    def _ask(self) -> Any:  # noqa: ANN401 - any JSON
        form = {"grant_type": "client_credentials", **({"scope": self._scope} if self._scope else {})}
        try:
            login = quote_plus(self._client_id), quote_plus(self._secret())
            with (
                httpx.Client(verify=self._context, timeout=TIMEOUT_SECONDS, trust_env=False) as client,
                client.stream("POST", self._endpoint, data=form, auth=login) as response,
            ):
                body = bytearray()
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > MOST_BYTES:
                        raise self._failed(f"its answer is larger than {MOST_BYTES // 1024} KB")
        except SecurityFileError as error:
            raise self._failed(str(error)) from error
        except httpx.HTTPError as error:
            raise self._failed(f"it does not answer ({type(error).__name__}: {error})") from error
        answer = _parsed(bytes(body))
        if response.status_code != httpx.codes.OK:
            is_refusal = response.status_code in REFUSALS
            raise self._failed(f"HTTP {response.status_code}{_error_code(answer)}", retriable=not is_refusal)
        return answer

    def _taken(self, answer: Any) -> tuple[str, float]:  # noqa: ANN401
        """The token and for how many seconds it is valid; 0 when the answer does not say it."""
        if not isinstance(answer, dict):
            raise self._failed("its answer is no JSON object")
        token, lifetime = answer.get("access_token"), answer.get("expires_in", 0)
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise self._failed("its answer holds no bearer token in access_token")
        if str(answer.get("token_type", "bearer")).lower() != "bearer":
            raise self._failed("its token is of another type than Bearer")
        try:
            return token, max(0.0, float(lifetime))
        except (TypeError, ValueError) as error:
            raise self._failed("expires_in is no number of seconds") from error

    def _failed(self, reason: str, *, retriable: bool = True) -> TokenError:
        return TokenError(
            f"no token from {self._endpoint} for the client {self._client_id}: {reason}; "
            "check the PLUMBLINE_KAFKA_OAUTH_ settings",
            retriable=retriable,
        )


def _parsed(body: bytes) -> Any:  # noqa: ANN401
    try:
        return json.loads(body)
    except ValueError:
        return None


def _error_code(answer: Any) -> str:  # noqa: ANN401
    """The error code of RFC 6749, section 5.2. Descriptions are left out: they may repeat what was sent."""
    code = answer.get("error") if isinstance(answer, dict) else None
    return f" {code}" if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
