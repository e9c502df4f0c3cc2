"""Pages are read to their end, each row once; what cannot be is said."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plumbline_collector.connectors.salesforce.pages import BATCH, Pages, by_key, by_time
from plumbline_collector.connectors.salesforce.soql import Selection
from plumbline_collector.errors import ReadError
from plumbline_contracts.events import DatasetState

from tests.unit.collector.salesforce.fake_org import FakeOrg, rows_of

USERS = Selection("User", ("Id",), key="Id")
TOKENS = Selection("OauthToken", ("AppName", "UserId", "CreatedDate"))
METHODS = Selection("TwoFactorMethodsInfo", ("UserId",), key="UserId")
START = datetime(2026, 1, 1, tzinfo=UTC)


def _ids(count: int) -> list[dict[str, Any]]:
    return [{"Id": f"005{number:012d}AAA", "UserId": f"005{number:012d}AAA"} for number in range(count)]


def _token(second: int, user: int, app: int = 0) -> dict[str, Any]:
    at = (START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    return {"AppName": f"app{app}", "UserId": f"005{user:012d}AAA", "CreatedDate": at}


@pytest.mark.parametrize("count", [0, 1, 1999, 2000, 2001, 4000])
async def test_every_row_comes_once_at_every_border(count: int) -> None:
    pages = await FakeOrg({"User": _ids(count)}).pages(USERS)
    assert len(await rows_of(pages)) == count == pages.count == pages.reported
    pages.require_whole()


async def test_a_lost_cursor_is_asked_for_once_more_from_the_last_key() -> None:
    org = FakeOrg({"User": _ids(5000)})
    org.lose_cursor_at = [2000]
    pages = await org.pages(USERS)
    rows = await rows_of(pages)
    assert [row["Id"] for row in rows] == [row["Id"] for row in _ids(5000)]
    assert "Id > '005000000001999AAA'" in org.asked[1]
    pages.require_whole()


async def test_a_cursor_that_is_lost_again_leaves_what_was_read_and_says_so() -> None:
    org = FakeOrg({"User": _ids(7000)})
    org.lose_cursor_at = [2000, 2000]
    pages = await org.pages(USERS)
    with pytest.raises(ReadError, match="lost after 4000 of 7000 rows") as caught:
        await rows_of(pages)
    assert (caught.value.state, pages.count) == (DatasetState.TRUNCATED, 4000)


async def test_without_a_key_a_lost_cursor_is_truncated_at_once() -> None:
    org = FakeOrg({"User": _ids(3000)})
    org.lose_cursor_at = [2000]
    with pytest.raises(ReadError) as caught:
        await rows_of(await org.pages(Selection("User", ("Id",))))
    assert caught.value.state is DatasetState.TRUNCATED
    assert len(org.asked) == 1


def _scripted(*pages: dict[str, Any]) -> Pages:
    left = list(pages)

    async def follow(_: str) -> dict[str, Any]:
        return left.pop(0)

    async def never(_: Selection, __: str) -> dict[str, Any]:
        raise AssertionError("nothing is asked anew")

    return Pages(USERS, left.pop(0), never, follow)


async def test_a_row_that_comes_again_is_dropped() -> None:
    first, second = _ids(4)[:2], _ids(4)[1:]
    pages = _scripted(
        {"totalSize": 4, "records": first, "done": False, "nextRecordsUrl": "/a"},
        {"totalSize": 4, "records": second, "done": True},
    )
    assert await rows_of(pages) == _ids(4)


async def test_a_row_that_comes_again_much_later_stands_for_another() -> None:
    rows = _ids(6)
    pages = _scripted(
        {"totalSize": 6, "records": rows[:2], "done": False, "nextRecordsUrl": "/a"},
        {"totalSize": 6, "records": rows[2:4], "done": False, "nextRecordsUrl": "/b"},
        {"totalSize": 6, "records": [rows[0], rows[5]], "done": True},
    )
    with pytest.raises(ReadError, match="1 rows of User came twice") as caught:
        await rows_of(pages)
    assert caught.value.state is DatasetState.TRUNCATED


@pytest.mark.parametrize("read", ["by_key", "by_time"])
async def test_a_batch_that_hides_rows_is_not_the_last(read: str) -> None:
    async def short(selection: Selection, _: str) -> Pages:
        async def never(*_: Any) -> dict[str, Any]:
            raise AssertionError("nothing more is asked")

        return Pages(selection, {"totalSize": BATCH, "records": [_token(1, 1)], "done": True}, never, never)

    with pytest.raises(ReadError, match=f"1 of {BATCH} rows") as caught:
        await rows_of(by_key(METHODS, short) if read == "by_key" else by_time(TOKENS, short, "CreatedDate", "UserId"))
    assert caught.value.state is DatasetState.TRUNCATED


async def test_a_row_that_replaced_another_shows_in_the_count() -> None:
    pages = _scripted(
        {"totalSize": 4, "records": _ids(4)[:2], "done": False, "nextRecordsUrl": "/a"},
        {"totalSize": 4, "records": _ids(4)[1:3], "done": True},
    )
    await rows_of(pages)
    with pytest.raises(ReadError, match="3 of 4 rows"):
        pages.require_whole()


@pytest.mark.parametrize(
    "second",
    [
        {"totalSize": 4, "records": _ids(2), "done": False, "nextRecordsUrl": "/b"},
        {"totalSize": 4, "records": [], "done": False, "nextRecordsUrl": "/b"},
        {"totalSize": 4, "records": _ids(4)[2:3], "done": False},
        {"totalSize": 4, "records": _ids(4)[2:3], "done": False, "nextRecordsUrl": "/a"},
        {"totalSize": 4, "records": _ids(9)[2:], "done": True},
    ],
    ids=["again", "empty", "no-link", "same-link", "too-many"],
)
async def test_pages_that_lead_astray_end_in_an_error(second: dict[str, Any]) -> None:
    pages = _scripted({"totalSize": 4, "records": _ids(2), "done": False, "nextRecordsUrl": "/a"}, second)
    with pytest.raises(ReadError) as caught:
        await rows_of(pages)
    assert (caught.value.state, caught.value.code) == (DatasetState.ERROR, "broken_paging")


@pytest.mark.parametrize("count", [0, 1999, 2000, 2001, 5200])
async def test_batches_by_key_pass_the_silent_cap(count: int) -> None:
    org = FakeOrg({"TwoFactorMethodsInfo": _ids(count)}, page_rows=500, cap=2500)
    assert len(await rows_of(by_key(METHODS, org.pages))) == count


async def test_batches_that_do_not_move_on_end_in_an_error() -> None:
    org = FakeOrg({"TwoFactorMethodsInfo": [{"UserId": "005000000000001AAA"}] * BATCH})

    async def stuck(selection: Selection, _: str) -> Pages:
        return await org.pages(Selection(selection.api_object, selection.columns, limit=selection.limit))

    with pytest.raises(ReadError, match="do not move on"):
        await rows_of(by_key(METHODS, stuck))


def _named(rows: list[Any]) -> list[tuple[str, str, str]]:
    return sorted((row["AppName"], row["UserId"], row["CreatedDate"]) for row in rows)


async def _tokens(rows: list[dict[str, Any]]) -> list[Any]:
    org = FakeOrg({"OauthToken": rows}, page_rows=500, cap=2500)
    return await rows_of(by_time(TOKENS, org.pages, "CreatedDate", "UserId"))


@pytest.mark.parametrize("count", [0, 1, 1999, 2000, 2001, 6001])
async def test_tokens_with_different_moments_all_come(count: int) -> None:
    rows = [_token(number, number) for number in range(count)]
    assert _named(await _tokens(rows)) == _named(rows)


async def test_equal_moments_at_the_border_are_neither_lost_nor_doubled() -> None:
    rows = [_token(number if number < 1995 else 1995, number) for number in range(2010)]
    rows += [_token(2000 + number, number) for number in range(2500)]
    assert _named(await _tokens(rows)) == _named(rows)


async def test_a_whole_batch_of_one_moment_is_read_by_user() -> None:
    rows = [_token(7, number // 2, number % 2) for number in range(4500)] + [_token(9, 1), _token(1, 1)]
    assert _named(await _tokens(rows)) == _named(rows)


async def test_one_user_with_more_tokens_of_one_moment_than_a_batch_is_said() -> None:
    with pytest.raises(ReadError) as caught:
        await _tokens([_token(7, 1, number) for number in range(2001)])
    assert caught.value.state is DatasetState.TRUNCATED


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=1500), min_size=1, max_size=6))
async def test_any_mix_of_equal_moments_comes_whole(sizes: list[int]) -> None:
    rows = [_token(second, user) for second, size in enumerate(sizes) for user in range(size)]
    assert _named(await _tokens(rows)) == _named(rows)
