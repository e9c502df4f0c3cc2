"""An issuer's keys over time: fresh, ageing, rotated, unknown, and while the issuer is down."""

import asyncio
from collections.abc import Callable

import pytest
from plumbline_score_api.network import AnswerError
from plumbline_score_api.problems import UnavailableError
from plumbline_score_api.tokens.key_sets import (
    FRESH_SECONDS,
    LONGEST_WAIT_SECONDS,
    STALE_SECONDS,
    UNKNOWN_SECONDS,
    KeySet,
)
from plumbline_score_api.tokens.verification import Keys

from tests.unit.score_api.signers import private_key

KEY = private_key("EC256").public_key()


class Publisher:
    """An issuer with a clock: `keys` are what it publishes; it can be down, or held up."""

    def __init__(self) -> None:
        self.now, self.reads = 1000.0, 0
        self.keys: set[str] = {"k1"}
        self.is_down = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.set = KeySet("https://id.example", self._read, lambda: self.now)

    async def _read(self) -> Keys:
        self.reads += 1
        await self.gate.wait()
        if self.is_down:
            raise AnswerError("HTTP 503")
        return {(key, "ES256"): KEY for key in self.keys}

    async def knows(self, key: str) -> bool:
        return await self.set.find(key, "ES256") is not None

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let what runs in the background go on."""
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - what runs in the background has no event of its own
                await asyncio.sleep(0)


@pytest.fixture
async def publisher() -> Publisher:
    return Publisher()


async def test_keys_are_read_once_while_they_are_fresh(publisher: Publisher) -> None:
    for _ in range(5):
        assert await publisher.knows("k1")
        publisher.now += FRESH_SECONDS / 10
    assert publisher.reads == 1
    assert await publisher.set.find("k1", "RS256") is None, "a key serves its own algorithm"


async def test_many_at_once_cause_one_reading(publisher: Publisher) -> None:
    publisher.gate.clear()
    asking = [asyncio.create_task(publisher.knows("k1")) for _ in range(50)]
    await publisher.until(lambda: publisher.reads == 1)
    publisher.gate.set()
    assert await asyncio.gather(*asking) == [True] * 50
    assert publisher.reads == 1


async def test_a_caller_that_leaves_does_not_stop_the_reading(publisher: Publisher) -> None:
    publisher.gate.clear()
    asking = asyncio.create_task(publisher.knows("k1"))
    await publisher.until(lambda: publisher.reads == 1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    publisher.gate.set()
    assert await publisher.knows("k1")
    assert publisher.reads == 1


async def test_ageing_keys_are_used_while_they_are_read_again(publisher: Publisher) -> None:
    assert await publisher.knows("k1")
    publisher.now += FRESH_SECONDS + 1
    publisher.gate.clear()
    assert await publisher.knows("k1"), "nobody waits"
    publisher.keys = {"k2"}
    publisher.gate.set()
    await publisher.until(lambda: publisher.reads == 2)
    assert await publisher.knows("k2")
    assert not await publisher.knows("k1"), "a key that was withdrawn opens nothing any more"


async def test_an_unknown_key_causes_one_reading_and_then_none_for_a_while(publisher: Publisher) -> None:
    assert await publisher.knows("k1")
    publisher.keys.add("k2")
    assert not await publisher.knows("k2"), "it was read just now"
    publisher.now += UNKNOWN_SECONDS
    assert await publisher.knows("k2"), "rotation"
    for number in range(1000):
        assert not await publisher.knows(f"guess{number}")
    assert publisher.reads == 2
    publisher.now += UNKNOWN_SECONDS
    assert not await publisher.knows("guess")
    assert publisher.reads == 3


async def test_an_unknown_key_waits_for_the_reading_that_is_under_way(publisher: Publisher) -> None:
    assert await publisher.knows("k1")
    publisher.keys.add("k2")
    publisher.now += FRESH_SECONDS + 1
    publisher.gate.clear()
    assert await publisher.knows("k1")
    asking = asyncio.create_task(publisher.knows("k2"))
    await publisher.until(lambda: publisher.reads == 2)
    publisher.gate.set()
    assert await asking


async def test_while_the_issuer_is_down_its_last_keys_are_used_for_a_bounded_time(publisher: Publisher) -> None:
    assert await publisher.knows("k1")
    publisher.is_down = True
    for _ in range(int(STALE_SECONDS / LONGEST_WAIT_SECONDS)):
        assert await publisher.knows("k1")
        publisher.now += LONGEST_WAIT_SECONDS
    publisher.now += 1
    with pytest.raises(UnavailableError):
        await publisher.knows("k1")
    publisher.is_down = False
    publisher.now += LONGEST_WAIT_SECONDS
    assert await publisher.knows("k1"), "it is there again"


async def test_an_issuer_that_is_down_is_asked_with_back_off(publisher: Publisher) -> None:
    publisher.is_down = True
    start = publisher.now
    while publisher.now < start + 3600:
        with pytest.raises(UnavailableError):
            await publisher.knows("k1")
        publisher.now += 1
    assert 60 <= publisher.reads <= 70, "2, 4, 8 … then once a minute"


async def test_it_can_be_closed_at_any_moment(publisher: Publisher) -> None:
    await publisher.set.close()
    publisher.gate.clear()
    asking = asyncio.create_task(publisher.knows("k1"))
    await publisher.until(lambda: publisher.reads == 1)
    await publisher.set.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
