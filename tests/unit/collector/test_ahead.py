"""One request is under way while the page before is worked on, and none is left behind."""

import asyncio

import pytest
from plumbline_collector.connectors.ahead import Ahead


async def test_a_request_is_under_way_before_its_page_is_taken() -> None:
    sent = asyncio.Event()

    async def request() -> str:
        sent.set()
        return "page"

    async with Ahead[str]() as ahead:
        await ahead.start(request())
        assert sent.is_set()
        assert await ahead.take() == "page"


async def test_what_a_request_raises_comes_when_its_page_is_taken() -> None:
    async def request() -> str:
        raise LookupError("no such page")

    async with Ahead[str]() as ahead:
        await ahead.start(request())
        with pytest.raises(LookupError, match="no such page"):
            await ahead.take()


async def test_a_page_that_nobody_takes_is_not_waited_for() -> None:
    ended = asyncio.Event()

    async def request() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "page"

    async with Ahead[str]() as ahead:
        await ahead.start(request())
    assert ended.is_set()
