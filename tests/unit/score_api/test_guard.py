"""The guard and answers that are sent as they arise."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from plumbline_score_api import guard
from plumbline_score_api.access import streamed
from plumbline_score_api.keys.schemas import Caller, Role
from plumbline_score_api.limits import Limits

KEY = {"Authorization": "Bearer a-key"}


async def _authenticate(_: str) -> Caller | None:
    return Caller(identity="k", name="k", tenant="acme", roles=frozenset({Role.READ}))


class _Source:
    """Sends one line, then nothing until it is released."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.sent = 0

    async def lines(self) -> AsyncIterator[bytes]:
        for text in (b"one\n", b"two\n"):
            self.sent += 1
            yield text
            await self.released.wait()


def _app(source: _Source) -> FastAPI:
    app = FastAPI()
    guard.install(app, _authenticate, Limits())

    @app.get("/stream", dependencies=[Depends(streamed)])
    async def stream() -> StreamingResponse:
        return StreamingResponse(source.lines(), media_type="text/plain")

    @app.get("/whole")
    async def whole() -> StreamingResponse:
        return StreamingResponse(source.lines(), media_type="text/plain")

    return app


async def _ask(app: FastAPI, method: str, path: str) -> list[dict[str, object]]:
    """What the application sends, in order, until it rests or ends."""
    sent: list[dict[str, object]] = []
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer a-key")],
        "client": ("127.0.0.1", 1),
        "http_version": "1.1",
    }
    asked = asyncio.Event()

    async def receive() -> dict[str, object]:
        if not asked.is_set():
            asked.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    task = asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]  # dicts for mappings
    await asyncio.wait([task], timeout=0.3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return sent


async def test_a_streamed_answer_leaves_before_it_is_whole() -> None:
    sent = await _ask(_app(_Source()), "GET", "/stream")
    assert [m.get("body") for m in sent if m["type"] == "http.response.body"] == [b"one\n"]


async def test_any_other_answer_waits_until_it_is_whole() -> None:
    assert await _ask(_app(_Source()), "GET", "/whole") == []


@pytest.mark.parametrize("path", ["/stream", "/whole"])
async def test_answers_carry_the_security_headers_and_only_whole_ones_an_etag(path: str) -> None:
    source = _Source()
    source.released.set()
    transport = httpx.ASGITransport(_app(source))
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=KEY) as client:
        response = await client.get(path)
    assert response.text == "one\ntwo\n"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert ("ETag" in response.headers) is (path == "/whole")


async def test_head_of_an_answer_without_end_ends() -> None:
    sent = await _ask(_app(_Source()), "HEAD", "/stream")
    assert sent[0]["status"] == 200
    assert sent[-1]["type"] == "http.response.body"
    assert not sent[-1].get("body")
    assert not sent[-1].get("more_body")
