"""An issuer's keys, by OpenID Connect Discovery 1.0, under the network rules."""

import json

import httpx

from plumbline_score_api.network import AnswerError, client, get
from plumbline_score_api.tokens.issuers import Issuer
from plumbline_score_api.tokens.verification import Keys, keys_of

LARGEST_ANSWER_BYTES = 512 * 1024
ANSWER_SECONDS = 5.0


class Discovery:
    """One issuer over HTTP."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._http = client(allow_private=issuer.allow_private_network, allow_http=issuer.allow_http)

    async def read(self) -> Keys:
        """The issuer's present keys, at least one. Raises AnswerError."""
        metadata = await _document(self._http, self._issuer.discovery_url)
        if metadata.get("issuer") != self._issuer.issuer:
            raise AnswerError(f"{self._issuer.discovery_url} describes another issuer")
        address = metadata.get("jwks_uri")
        if not isinstance(address, str):
            raise AnswerError(f"{self._issuer.discovery_url} names no jwks_uri")
        keys = keys_of(await _document(self._http, address))
        if not keys:
            raise AnswerError(f"{address} holds no key that could verify a token")
        return keys

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()


async def _document(http: httpx.AsyncClient, url: str) -> dict[str, object]:
    try:
        body = await get(http, url, most_bytes=LARGEST_ANSWER_BYTES, within_seconds=ANSWER_SECONDS)
        found = json.loads(body)
    except AnswerError as error:
        raise AnswerError(f"{url}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"{url}: the answer is no JSON") from error
    if not isinstance(found, dict):
        raise AnswerError(f"{url}: the answer is no JSON object")
    return found
