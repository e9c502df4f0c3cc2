"""Reading what a foreign server sends: bounded in size and time, without our secrets, as text that can be sent on."""

import json
import re
import time
import zlib
from collections.abc import Iterable
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus

import httpx
import orjson
from plumbline_contracts.events import DatasetState

from plumbline_collector.errors import ReadError

GRACE_SECONDS = 15.0
SLOWEST_BYTES_PER_SECOND = 1024
SHORTEST_SECRET = 4
LONGEST_QUOTE = 300
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")


async def read_bounded(response: httpx.Response, limit: int) -> bytes:
    """The body, unpacked. Raises ReadError when it is larger than `limit`, trickles in, or is packed in another way.

    Unpacking never makes more than `limit` bytes, however much a small body claims to hold.
    """
    body, unpack = bytearray(), _unpacker(response)
    began = time.monotonic()
    async for piece in response.aiter_raw():
        body += unpack(piece, limit + 1 - len(body))
        if len(body) > limit:
            size = f"{limit // 1024 // 1024} MB" if limit >= 1024 * 1024 else f"{limit // 1024} KB"
            raise ReadError(DatasetState.ERROR, "too_large", f"the answer is larger than {size}")
        seconds = time.monotonic() - began
        if seconds > GRACE_SECONDS and len(body) < seconds * SLOWEST_BYTES_PER_SECOND:
            message = f"the answer trickles in: {len(body)} bytes in {seconds:.0f} s"
            raise ReadError(DatasetState.ERROR, "too_slow", message)
    return bytes(body)


class _Unpacker:
    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)

    def __call__(self, piece: bytes, most: int) -> bytes:
        try:
            return self._zlib.decompress(piece, max(most, 1))
        except zlib.error as error:
            raise ReadError(DatasetState.ERROR, "broken_answer", "the packed answer cannot be unpacked") from error


def _as_it_is(piece: bytes, _: int) -> bytes:
    return piece


def _unpacker(response: httpx.Response) -> Any:  # noqa: ANN401 - a function of (piece, most)
    packed = response.headers.get("content-encoding", "identity").strip().lower()
    if packed in ("", "identity"):
        return _as_it_is
    if packed in ("gzip", "x-gzip", "deflate"):
        return _Unpacker()
    raise ReadError(DatasetState.ERROR, "broken_answer", "the answer is packed in a way that was not asked for")


def without(secrets: Iterable[str], body: bytes) -> bytes:
    """The body with every secret that we sent replaced, also where it is escaped: some servers quote the request."""
    for secret in secrets:
        if len(secret) < SHORTEST_SECRET:
            continue
        for form in {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}:
            body = body.replace(form.encode(), b"***")
    return body


def parse_json(body: bytes) -> Any:  # noqa: ANN401 - whatever the product sent
    """The body as JSON; halves of characters, which nothing else could take, become U+FFFD. Raises ValueError.

    A whole number that needs more than 64 bits comes as the nearest number with a fraction.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_leniently(body)


def _parse_leniently(body: bytes) -> Any:  # noqa: ANN401 - whatever the product sent
    """What orjson refuses although it can be understood: halves of characters, a byte order mark, huge numbers."""
    document = json.loads(body, parse_constant=_refuse_constant)
    return _whole_characters(document) if _SURROGATE.search(body) else document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _whole_characters(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole_characters(name): _whole_characters(item) for name, item in value.items()}
    return [_whole_characters(item) for item in value] if isinstance(value, list) else value


def quoted(text: object) -> str:
    """A foreign text as one of our messages may hold it: one line, printable, at most 300 characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= LONGEST_QUOTE else f"{line[:LONGEST_QUOTE]}…"
