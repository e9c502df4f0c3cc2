"""From a bearer token to the caller behind it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from prometheus_client import Counter

from plumbline_score_api.keys.schemas import Caller
from plumbline_score_api.tokens.claims import caller_of
from plumbline_score_api.tokens.discovery import Discovery
from plumbline_score_api.tokens.issuers import Issuer
from plumbline_score_api.tokens.key_sets import KeySet
from plumbline_score_api.tokens.verification import Reason, RefusedError, announced, require_allowed, verify

log = structlog.get_logger(__name__)

REFUSED = Counter(
    "plumbline_score_api_tokens_refused_total", "Bearer tokens that were not valid, by reason", ["reason"]
)


class TokenService:
    """Tokens of all trusted issuers."""

    def __init__(self, issuers: Sequence[Issuer], key_sets: Mapping[str, KeySet]) -> None:
        """`key_sets` by issuer; each issuer has one."""
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._key_sets = key_sets

    async def authenticate(self, text: str) -> Caller | None:
        """The caller behind a token; None when it is not valid, and the log says why without the token.

        Raises UnavailableError when the issuer's keys cannot be had.
        """
        issuer: Issuer | None = None
        try:
            token = announced(text)
            issuer = self._issuers.get(token.issuer)
            if issuer is None:
                raise RefusedError(Reason.ISSUER)
            require_allowed(token, issuer)
            key = await self._key_sets[issuer.issuer].find(token.key_id, token.algorithm)
            if key is None:
                raise RefusedError(Reason.KEY)
            return caller_of(issuer, verify(text, token, issuer, key))
        except RefusedError as refused:
            REFUSED.labels(refused.reason.value).inc()
            log.info("bearer refused", reason=refused.reason.value, issuer=issuer.issuer if issuer else None)
            return None

    async def warm(self) -> None:
        """Read the keys of all issuers, so that a wrong address shows at the start."""
        await asyncio.gather(*(keys.refresh() for keys in self._key_sets.values()))


def over_http(issuers: Sequence[Issuer]) -> tuple[TokenService, Callable[[], Awaitable[None]]]:
    """The service with the issuers' keys from where they publish them, and what closes it."""
    readers = {issuer.issuer: Discovery(issuer) for issuer in issuers}
    key_sets = {name: KeySet(name, reader.read) for name, reader in readers.items()}

    async def close() -> None:
        await asyncio.gather(*(keys.close() for keys in key_sets.values()))
        await asyncio.gather(*(reader.close() for reader in readers.values()))

    return TokenService(issuers, key_sets), close
