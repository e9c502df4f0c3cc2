"""Records as lines: RFC 4180, NDJSON, and cells that never calculate."""

import csv
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_score_api.exports import records
from plumbline_score_api.exports.lines import Format, harmless, head, line_of
from plumbline_score_api.exports.slots import Slots
from plumbline_score_api.problems import TooManyError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
COLUMNS = ("a", "b")


def _read(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))


def _csv(record: dict[str, Any]) -> list[str]:
    (found,) = _read(line_of(Format.CSV, tuple(record))(record))
    return found


@given(st.lists(st.tuples(TEXT, TEXT)))
def test_csv_gives_back_every_cell_in_its_row(rows: list[tuple[str, str]]) -> None:
    line = line_of(Format.CSV, COLUMNS)
    data = head(Format.CSV, COLUMNS) + b"".join(line(dict(zip(COLUMNS, row, strict=True))) for row in rows)
    assert _read(data) == [list(COLUMNS), *([harmless(cell) for cell in row] for row in rows)]
    assert data.endswith(b"\r\n")


@given(TEXT)
def test_ndjson_gives_back_every_value_on_one_line(text: str) -> None:
    data = line_of(Format.NDJSON, COLUMNS)({"a": text, "b": [text]})
    assert data.count(b"\n") == 1
    assert json.loads(data) == {"a": text, "b": [text]}
    assert head(Format.NDJSON, COLUMNS) == b""


@given(st.sampled_from("=+-@\uff1d\uff0b\uff0d\uff20"), TEXT, st.sampled_from(["", " ", "\ufeff", "\n ", "\u00a0"]))
def test_no_cell_begins_a_formula(lead: str, rest: str, blank: str) -> None:
    assert harmless(blank + lead + rest) == "'" + blank + lead + rest


@given(st.sampled_from("\t\r\n"), TEXT)
def test_no_cell_begins_with_a_tab_or_a_line_break(lead: str, rest: str) -> None:
    assert harmless(lead + rest) == "'" + lead + rest


@pytest.mark.parametrize("text", ["", "a=b", "user@contoso.example", "2026-01-01", "'=1", "(-1)", "\u2212"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""), (True, "true"), (False, "false"), (-3.5, "-3.5"), (0, "0"), (7.0, "7.0"),
        (["a", "b; c"], "a; b; c"), (["=1", "b"], "'=1; b"), ([], ""), ({"x": "=1", "y": None}, '{"x":"=1","y":null}'),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"), ('=H("x")', "'=H(\"x\")"),
    ],
)  # fmt: skip
def test_values_as_cells(value: Any, cell: str) -> None:
    assert _csv({"a": value, "b": "end"}) == [cell, "end"]


def test_columns_keep_their_order_whatever_the_record_says() -> None:
    assert line_of(Format.CSV, ("b", "a"))({"a": 1, "b": 2}) == b"2,1\r\n"
    assert list(json.loads(line_of(Format.NDJSON, ("b", "a"))({"a": 1, "b": 2, "c": 3}))) == ["b", "a"]


def test_slots_are_given_back_once() -> None:
    slots = Slots(4)
    one, two = slots.take("contoso"), slots.take("contoso")
    with pytest.raises(TooManyError, match="2 exports of this tenant"):
        slots.take("contoso")
    one()
    one()
    assert slots.taken == 1
    slots.take("contoso")
    two()
    assert slots.taken == 1


def test_no_tenant_has_all_slots_and_all_together_no_more_than_there_are() -> None:
    slots = Slots(3)
    slots.take("a")
    slots.take("b")
    release = slots.take("c")
    with pytest.raises(TooManyError, match="Too many exports"):
        slots.take("d")
    release()
    slots.take("d")
    assert slots.taken == 3


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("recommendations", records.RECOMMENDATIONS), ("exposed-entities", records.EXPOSED),
        ("history", records.HISTORY), ("history-changes", records.CHANGES), ("audit", records.AUDIT),
    ],
)  # fmt: skip
def test_the_documented_columns_are_those_of_the_file(name: str, columns: tuple[str, ...]) -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/export.md").read_text()
    (row,) = re.findall(rf"^\| {name} \| (.+) \|$", page, re.MULTILINE)
    assert row == ", ".join(f"`{column}`" for column in columns)
