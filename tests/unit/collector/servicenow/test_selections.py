"""What proves that there are no rows, and what happens when the instance leaves a condition out."""

from typing import Any

import pytest
from plumbline_collector.connectors.servicenow import selections
from plumbline_collector.connectors.servicenow.queries import (
    Either,
    Equals,
    Is,
    IsEmpty,
    OneOf,
    Selection,
    StartsWith,
    in_chunks,
)
from plumbline_collector.connectors.servicenow.selections import Emptiness, SelectedRows, count
from plumbline_collector.errors import ReadError
from plumbline_contracts.events import DatasetState

from tests.unit.collector.servicenow.fakes import Cells, FakeInstance, sys_id

ACTIVE = Selection("t", "name", (Equals("active", "true"),))


def _row(number: int, active: str = "true") -> Cells:
    return {"sys_id": sys_id(number), "name": f"n{number}", "active": active}


async def _names(source: FakeInstance, selection: Selection = ACTIVE, emptiness: Emptiness | None = None) -> list[str]:
    rows = SelectedRows(source, selection, emptiness or Emptiness())
    return [row["name"] async for page in rows for row in page]


async def test_an_empty_selection_of_a_readable_table_is_proven_by_one_more_call() -> None:
    source = FakeInstance({"t": [_row(1, "false")]})
    assert await _names(source) == []
    assert source.calls["t"] == 2


@pytest.mark.parametrize("total_is_trimmed", [True, False])
async def test_an_empty_selection_of_a_hidden_table_is_a_missing_right(total_is_trimmed: bool) -> None:
    source = FakeInstance({"t": [_row(1)]})
    source.hidden, source.counts_hidden = {sys_id(1)}, not total_is_trimmed
    if total_is_trimmed:
        emptiness = Emptiness()
        emptiness.is_trusted = False
        with pytest.raises(ReadError, match="leave out what access rules hide"):
            await _names(source, emptiness=emptiness)
    else:
        with pytest.raises(ReadError, match="0 of 1 rows") as caught:
            await _names(source)
        assert caught.value.state is DatasetState.DENIED


async def test_a_selection_by_a_column_that_does_not_exist_is_not_empty() -> None:
    source = FakeInstance({"t": [{"sys_id": sys_id(1), "name": "n1"}]})
    source.tables["none"] = []
    wanted = Selection("t", "name", (Equals("active", "true"),))

    async def no_rows(table: str, query: str, fields: str, size: int, offset: int) -> tuple[list[dict[str, str]], int]:
        rows, _ = await FakeInstance.page(source, table, "", fields, size, offset)
        return (rows, 1) if not query else ([], 0)

    source.page = no_rows  # type: ignore[method-assign]
    with pytest.raises(ReadError, match="does not show active"):
        await _names(source, wanted)


async def test_a_wholly_empty_table_is_empty_unless_totals_are_trimmed() -> None:
    everything, emptiness = Selection("t", "name"), Emptiness()
    assert await _names(FakeInstance(), everything, emptiness) == []
    never = Selection("sys_public", "page")
    with pytest.raises(ReadError, match="never empty"):
        await _names(FakeInstance(), never, emptiness)
    with pytest.raises(ReadError, match="totals leave out"):
        await _names(FakeInstance(), everything, emptiness)


async def test_rows_that_come_because_a_condition_was_left_out_are_dropped() -> None:
    source = FakeInstance({"t": [_row(1), _row(2, "false"), _row(3, " TRUE ")]})
    source.ignores = {"active"}
    rows = SelectedRows(source, ACTIVE, Emptiness())
    found = [row["name"] async for page in rows for row in page]
    assert found == ["n1", "n3"]
    assert (rows.count, rows.reported, rows.hidden) == (2, 2, None)


async def test_a_large_table_is_not_read_whole_because_a_condition_was_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selections, "IGNORED_PAGES", 1)
    source = FakeInstance({"t": [_row(number, "false") for number in range(5000)]})
    source.ignores = {"active"}
    with pytest.raises(ReadError, match="leaves a condition out"):
        await _names(source)
    assert source.calls["t"] == 3


async def test_rows_whose_fit_cannot_be_told_make_the_selection_unsure() -> None:
    source = FakeInstance({"t": [{"sys_id": sys_id(1), "name": "n1"}]})
    rows = SelectedRows(source, ACTIVE, Emptiness())
    assert [row["name"] async for page in rows for row in page] == ["n1"]
    assert rows.hidden is not None
    assert rows.hidden.code == "unverified"


async def test_a_count_takes_one_call_and_is_checked() -> None:
    source = FakeInstance({"t": [_row(number) for number in range(7)] + [_row(8, "false")]})
    assert await count(source, ACTIVE, Emptiness()) == 7
    assert source.calls["t"] == 1
    source.ignores = {"active"}
    source.tables["t"].reverse()
    with pytest.raises(ReadError, match="left out"):
        await count(source, ACTIVE, Emptiness())


async def test_a_count_of_hidden_rows_is_no_count() -> None:
    source = FakeInstance({"t": [_row(1)]})
    source.hidden = {sys_id(1)}
    with pytest.raises(ReadError, match="shows none"):
        await count(source, ACTIVE, Emptiness())


class Miscounting(FakeInstance):
    """An instance whose totals are half of what is true."""

    async def page(
        self, table: str, query: str, fields: str, size: int, offset: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        rows, total = await super().page(table, query, fields, size, offset)
        return rows, None if total is None else total // 2


async def test_a_total_that_the_rows_contradict_is_no_count() -> None:
    with pytest.raises(ReadError, match="shows 1 rows and says that it has 0"):
        await count(Miscounting({"t": [_row(1)]}), ACTIVE, Emptiness())


def test_conditions_are_written_as_encoded_queries() -> None:
    where = (OneOf("name", ("a", "b")), IsEmpty("script"), StartsWith("name", ("u_", "x_")))
    assert Selection("t", "", where).query == "nameINa,b^scriptISEMPTY^nameSTARTSWITHu_^ORnameSTARTSWITHx_"
    either = Either((OneOf("id", ("a",)), Equals("active", "active")))
    assert Selection("t", "", (either,)).query == "idINa^ORactive=active"
    assert [either.verdict({"id": "A", "active": ""}), either.verdict({"id": "b", "active": "inactive"})] == [
        True,
        False,
    ]
    assert either.verdict({"id": "b"}) is None


def test_lists_are_cut_where_an_address_would_grow_too_long() -> None:
    ids = [sys_id(number) for number in range(1000)]
    chunks = list(in_chunks(ids))
    assert [each for chunk in chunks for each in chunk] == ids
    assert all(len("%2C".join(chunk)) < 6_000 for chunk in chunks)
    assert [len(chunk) for chunk in in_chunks(["a"] * 5, 2)] == [2, 2, 1]


async def test_rows_that_all_belong_to_others_do_not_make_a_population_of_none() -> None:
    source = FakeInstance({"t": [_row(1, "false"), _row(2, "false")]})
    source.ignores = {"active"}
    assert await _names(source) == []
    with pytest.raises(ReadError, match="every instance has some") as caught:
        await _names(source, Selection("t", "name", (Equals("active", "true"),), is_never_empty=True))
    assert caught.value.state is DatasetState.DENIED


@pytest.mark.parametrize(("cell", "expected"), [("true", True), ("1", True), ("0", False), ("wahr", None), ("", None)])
def test_a_truth_value_in_another_language_tells_nothing(cell: str, expected: bool | None) -> None:
    assert Is("active").query == "active=true"
    assert Is("active").verdict({"active": cell}) is expected
    assert Is("active", value=False).verdict({"active": cell}) is (None if expected is None else not expected)
    assert Is("active").verdict({}) is None
