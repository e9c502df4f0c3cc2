"""Reads that are shared: never older than the question, never two at once."""

import asyncio

import pytest
from plumbline_score_api.sharing import SharedReads


class Store:
    """A number that a read returns as it was at some moment between its beginning and its end."""

    def __init__(self) -> None:
        self.value = self.reads = self.at_once = self.most_at_once = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.shared: SharedReads[str, int] = SharedReads(self._read)

    async def _read(self, _: str) -> int:
        self.reads += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        seen = self.value
        await self.gate.wait()
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        return seen


async def _turn(times: int = 5) -> None:
    """Let everything run that can."""
    for _ in range(times):
        await asyncio.sleep(0)


async def test_who_asks_while_a_read_runs_gets_the_next_one() -> None:
    store = Store()
    first = asyncio.create_task(store.shared.get("k"))
    await _turn()
    store.value = 1
    later = [asyncio.create_task(store.shared.get("k")) for _ in range(100)]
    await _turn()
    store.gate.set()
    assert await first == 0
    assert set(await asyncio.gather(*later)) == {1}
    assert (store.reads, store.most_at_once) == (2, 1)


async def test_every_answer_is_as_new_as_its_question() -> None:
    """Many ask at random moments while the value grows."""
    store = Store()
    store.gate.set()

    async def ask(turns: int) -> bool:
        await _turn(turns)
        store.value += 1
        asked_at = store.value
        return await store.shared.get("k") >= asked_at

    assert all(await asyncio.gather(*(ask(turns % 17) for turns in range(500))))
    assert store.reads < 500
    assert store.most_at_once == 1


async def test_keys_do_not_wait_for_each_other() -> None:
    store = Store()
    asked = [asyncio.create_task(store.shared.get(key)) for key in "ab"]
    await _turn()
    assert store.most_at_once == 2
    store.gate.set()
    assert await asyncio.gather(*asked) == [0, 0]


async def test_an_error_reaches_all_who_share_it_and_nobody_after_them() -> None:
    store = Store()
    store.error = ValueError("no")
    asked = [asyncio.create_task(store.shared.get("k")) for _ in range(3)]
    await _turn()
    store.gate.set()
    assert {type(each) for each in await asyncio.gather(*asked, return_exceptions=True)} == {ValueError}
    store.error = None
    assert await store.shared.get("k") == 0


async def test_one_who_gives_up_takes_nothing_from_the_others() -> None:
    store = Store()
    gone, patient = (asyncio.create_task(store.shared.get("k")) for _ in range(2))
    await _turn()
    gone.cancel()
    store.gate.set()
    assert await patient == 0
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_nothing_is_kept() -> None:
    store = Store()
    store.gate.set()
    for expected in range(3):
        store.value = expected
        assert await store.shared.get("k") == expected
    assert not store.shared._running
    assert not store.shared._next
