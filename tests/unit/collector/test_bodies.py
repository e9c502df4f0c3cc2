"""What a foreign server sends, made safe before anything else sees it."""

import gzip
import json
import time
import zlib
from collections.abc import Callable
from email.utils import formatdate

import httpx
import pytest
from plumbline_collector.connectors import bodies, saas_client
from plumbline_collector.errors import ReadError

LIMIT = 100_000


async def _read(body: bytes, **headers: str) -> bytes:
    async def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(body))

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client,
        client.stream("GET", "https://example.com/") as response,
    ):
        return await bodies.read_bounded(response, LIMIT)


@pytest.mark.parametrize(
    ("pack", "headers"),
    [
        (bytes, {}),
        (gzip.compress, {"content-encoding": "gzip"}),
        (zlib.compress, {"content-encoding": "deflate"}),
    ],
)
async def test_a_body_is_unpacked(pack: Callable[[bytes], bytes], headers: dict[str, str]) -> None:
    body = b'{"records": []}' * 100
    assert await _read(pack(body), **headers) == body


@pytest.mark.parametrize("size", [LIMIT + 1, 500 * LIMIT])
async def test_a_packed_body_never_becomes_larger_than_the_limit(size: int) -> None:
    with pytest.raises(ReadError, match="larger than 97 KB"):
        await _read(gzip.compress(b"x" * size), **{"content-encoding": "gzip"})


async def test_a_body_packed_in_another_way_or_damaged_is_refused() -> None:
    with pytest.raises(ReadError, match="not asked for"):
        await _read(b"...", **{"content-encoding": "br"})
    with pytest.raises(ReadError, match="cannot be unpacked"):
        await _read(b"no gzip at all", **{"content-encoding": "gzip"})


@pytest.mark.parametrize("half", ["\\ud800", "\\uDFFF", "\\ud83d x"])
def test_half_a_character_does_not_get_further(half: str) -> None:
    document = bodies.parse_json(f'{{"a{half}": ["b{half}"], "n": null}}'.encode())
    assert json.dumps(document, ensure_ascii=False).encode().count("\ufffd".encode()) == 2


def test_half_a_character_in_bytes_does_not_get_further() -> None:
    assert bodies.parse_json(b'["\xed\xa0\x80"]')[0].encode()


def test_whole_characters_stay() -> None:
    assert bodies.parse_json(rb'["\ud83d\ude00 \u00e9"]') == ["\U0001f600 é"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[NaN]", b"[-Infinity]", b"[" + b"1" * 5000 + b"]", b'["\t"]', b'["\xff"]', b"[" * 200_000, b"[1] 2"],
)
def test_what_is_no_json_or_too_much_of_it_is_refused(body: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        bodies.parse_json(body)


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b"\xef\xbb\xbf[1]", [1]),
        (b"[18446744073709551615, 1.5, -0.0]", [2**64 - 1, 1.5, 0.0]),
        (b"[1" + b"0" * 400 + b"]", [10**400]),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'["\\u0000"]', ["\0"]),
    ],
)
def test_odd_json_is_understood(body: bytes, document: object) -> None:
    assert bodies.parse_json(body) == document


@pytest.mark.parametrize("form", ["{}", "client_secret={}&x", '"{}"', "%s"])
def test_a_secret_that_is_quoted_back_is_taken_out(form: str) -> None:
    secret = 'p&ss wörd"/1'
    for written in (secret, "p%26ss+w%C3%B6rd%22%2F1", "p%26ss%20w%C3%B6rd%22/1", json.dumps(secret)[1:-1]):
        body = (form.replace("%s", "{}").format(written)).encode()
        assert b"ss" not in bodies.without([secret], body)


def test_a_foreign_text_is_one_bounded_line() -> None:
    assert bodies.quoted("a\x00b\n\x1b[31m c") == "a b [31m c"
    assert len(bodies.quoted("x" * 10_000)) == bodies.LONGEST_QUOTE + 1


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, low: float, high: float) -> None:
    seconds = saas_client._seconds_to_wait(header)
    assert seconds is not None
    assert low <= seconds <= high


def test_retry_after_may_be_a_date_to_come() -> None:
    seconds = saas_client._seconds_to_wait(formatdate(time.time() + 3600, usegmt=True))
    assert seconds is not None
    assert 3500 <= seconds <= 3601


@pytest.mark.parametrize("header", ["", "-1", "soon", "\u0661"])
def test_a_retry_after_that_says_nothing_is_none(header: str) -> None:
    assert saas_client._seconds_to_wait(header) is None
