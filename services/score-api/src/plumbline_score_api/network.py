"""Asking foreign servers under the network rules: answers bounded in size and time, whatever the server does."""

import asyncio

import httpx
from plumbline_contracts.network import CheckedTransport, RefusedByRulesError, checked_client

CONNECT_SECONDS = 5.0


class AnswerError(Exception):
    """A foreign server gave no usable answer; the message says why and holds nothing that it sent."""


def client(*, allow_private: bool, allow_http: bool) -> httpx.AsyncClient:
    """A client under the rules, which asks for nothing packed."""
    transport = CheckedTransport(allow_private=allow_private, allow_http=allow_http)
    headers = {"User-Agent": "plumbline-score-api", "Accept-Encoding": "identity"}
    return checked_client(transport, CONNECT_SECONDS, headers)


async def get(http: httpx.AsyncClient, url: str, *, most_bytes: int, within_seconds: float) -> bytes:
    """The body of a plain 200 answer. Raises AnswerError for anything else, whatever the server does."""
    try:
        async with asyncio.timeout(within_seconds), http.stream("GET", url) as response:
            return await _read(response, most_bytes)
    except TimeoutError as error:
        raise AnswerError(f"no whole answer within {within_seconds:g} s") from error
    except (httpx.InvalidURL, UnicodeError, OverflowError) as error:
        raise AnswerError("the address is no valid URL") from error
    except (httpx.ConnectError, RefusedByRulesError) as error:
        raise AnswerError(str(error)) from error
    except httpx.HTTPError as error:
        raise AnswerError(f"the request failed ({type(error).__name__})") from error


async def _read(response: httpx.Response, most_bytes: int) -> bytes:
    if response.is_redirect:
        raise AnswerError(f"HTTP {response.status_code}: it sends to another address, which is not followed")
    if response.status_code != 200:
        raise AnswerError(f"HTTP {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise AnswerError("the answer is packed, which was not asked for")
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > most_bytes:
            raise AnswerError(f"the answer is larger than {most_bytes // 1024} KB")
    return bytes(body)
