"""Every row once, and whatever is missing is noticed."""

from typing import Any

import pytest
from plumbline_collector.connectors.servicenow.paging import PAGE_ROWS, TableRows
from plumbline_collector.errors import ReadError
from plumbline_contracts.events import DatasetState

from tests.unit.collector.servicenow.fakes import FakeInstance, denied, sys_id

ROWS = 2 * PAGE_ROWS + 500


def _instance(count: int = ROWS) -> FakeInstance:
    return FakeInstance({"t": [{"sys_id": sys_id(number), "name": f"n{number}"} for number in range(count)]})


async def _read(source: FakeInstance) -> tuple[list[str], TableRows]:
    pages = TableRows(source, "t", "", "sys_id,name")
    return [row["sys_id"] async for rows in pages for row in rows], pages


@pytest.mark.parametrize(("count", "calls"), [(0, 1), (1, 1), (1000, 1), (1001, 2), (ROWS, 3)])
async def test_a_table_takes_a_call_for_every_thousand_rows(count: int, calls: int) -> None:
    source = _instance(count)
    found, pages = await _read(source)
    assert found == [sys_id(number) for number in range(count)]
    assert (pages.hidden, pages.count, pages.reported, source.calls["t"]) == (None, count, count, calls)


@pytest.mark.parametrize("ways", [{"knows_ranges": False}, {"ignores": {"sys_id"}}, {"is_ordered": False}])
async def test_every_way_of_paging_finds_every_row_once(ways: dict[str, Any]) -> None:
    source = _instance()
    vars(source).update(ways)
    found, pages = await _read(source)
    assert sorted(found) == [sys_id(number) for number in range(ROWS)]
    assert pages.hidden is None


async def test_rows_that_come_out_of_order_are_found_all_the_same() -> None:
    source = _instance()
    source.is_ordered = False
    source.tables["t"].reverse()
    found, pages = await _read(source)
    assert len(set(found)) == len(found) == ROWS
    assert pages.hidden is None


@pytest.mark.parametrize("first", [0, 600, PAGE_ROWS - 1, ROWS - 1])
async def test_one_hidden_row_anywhere_is_noticed(first: int) -> None:
    source = _instance()
    source.hidden = {sys_id(first)}
    found, pages = await _read(source)
    assert len(found) == ROWS - 1
    assert pages.hidden is not None
    assert (pages.hidden.state, pages.hidden.code, pages.reported) == (DatasetState.TRUNCATED, "hidden_rows", ROWS)
    with pytest.raises(ReadError, match="hidden from the collector's user"):
        pages.require_whole()


async def test_a_whole_page_of_hidden_rows_ends_nothing() -> None:
    source = _instance()
    source.hidden = {sys_id(number) for number in range(900, 2100)}
    found, pages = await _read(source)
    assert len(found) == ROWS - 1200
    assert pages.hidden is not None


async def test_a_row_that_comes_twice_on_a_page_counts_once() -> None:
    source = _instance(3)
    source.tables["t"].insert(1, dict(source.tables["t"][0]))
    found, _ = await _read(source)
    assert found == [sys_id(0), sys_id(1), sys_id(2)]


async def test_rows_deleted_between_pages_are_not_hidden() -> None:
    source = _instance()
    pages, found = TableRows(source, "t", "", "sys_id"), 0
    async for rows in pages:
        found += len(rows)
        source.tables["t"] = [row for row in source.tables["t"] if row["sys_id"] not in (sys_id(3), sys_id(2400))]
    assert (found, pages.hidden) == (ROWS - 1, None)


async def test_a_table_that_changes_while_it_is_read_by_offset_is_not_whole() -> None:
    source = _instance()
    source.knows_ranges = False
    pages = TableRows(source, "t", "", "sys_id")
    async for _ in pages:
        source.tables["t"] = [row for row in source.tables["t"] if row["sys_id"] != sys_id(3)]
    assert pages.hidden is not None
    assert pages.hidden.code == "changed"


async def test_without_a_total_nothing_is_whole() -> None:
    source = _instance(5)
    source.tells_total = False
    found, pages = await _read(source)
    assert len(found) == 5
    assert pages.hidden is not None
    assert pages.hidden.code == "no_total"


async def test_a_table_that_is_refused_stays_refused() -> None:
    source = _instance()
    source.refusals["t"] = denied()
    with pytest.raises(ReadError, match="Insufficient rights"):
        await _read(source)


async def test_a_row_without_its_id_is_a_missing_right() -> None:
    source = _instance(1)
    with pytest.raises(ReadError, match="sys_id"):
        async for _ in TableRows(source, "t", "", "name"):
            pass


async def test_a_total_that_is_too_small_hides_no_rows_and_is_noticed() -> None:
    source = _instance()
    honest = source.page

    async def halved(table: str, query: str, fields: str, size: int, offset: int) -> tuple[list[dict[str, Any]], int]:
        rows, total = await honest(table, query, fields, size, offset)
        return rows, (total or 0) // 2

    source.page = halved  # type: ignore[method-assign]
    found, pages = await _read(source)
    assert len(found) == ROWS
    assert pages.hidden is not None
    assert pages.hidden.code == "wrong_total"


async def test_a_table_without_an_end_is_given_up() -> None:
    source = _instance()
    honest = source.page

    async def growing(table: str, query: str, fields: str, size: int, offset: int) -> tuple[list[dict[str, Any]], int]:
        rows, _ = await honest(table, query, fields, size, offset)
        return rows, offset + 2 * size + 1

    source.page = growing  # type: ignore[method-assign]
    with pytest.raises(ReadError, match="has no end"):
        await _read(source)
    assert source.calls["t"] < 50


async def test_a_table_that_hides_nearly_everything_is_not_read_to_its_end() -> None:
    source = _instance(200)
    honest = source.page

    async def one_of_a_billion(
        table: str, query: str, fields: str, size: int, offset: int
    ) -> tuple[list[dict[str, Any]], int]:
        rows, _ = await honest(table, query, fields, size, offset)
        return rows[:1], 10**9

    source.page = one_of_a_billion  # type: ignore[method-assign]
    found, pages = await _read(source)
    assert 0 < len(found) == source.calls["t"] < 10
    assert pages.hidden is not None
    assert (pages.hidden.code, pages.reported) == ("hidden_rows", 10**9)


async def test_a_table_that_hides_fewer_rows_than_it_shows_is_read_to_its_end() -> None:
    source = _instance(16 * PAGE_ROWS)
    source.hidden = {sys_id(2 * number) for number in range(7 * PAGE_ROWS)}
    found, _ = await _read(source)
    assert len(found) == 9 * PAGE_ROWS
