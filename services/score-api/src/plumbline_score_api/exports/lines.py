"""Records as lines of CSV (RFC 4180) or NDJSON. Pure.

A record is the same in both: names to values that JSON knows. In CSV a list is one cell with `; ` between its parts,
an object is JSON, nothing is an empty cell.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from pydantic_core import to_json, to_jsonable_python

Record = Mapping[str, Any]
Line = Callable[[Record], bytes]
_FORMULA = re.compile(r"[\s\x00-\x1f\u200b\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
"""What a spreadsheet may take for a formula, wide forms and blanks before it included."""


class Format(StrEnum):
    """The form of a file."""

    CSV = "csv"
    NDJSON = "ndjson"

    @property
    def media_type(self) -> str:
        """As RFC 4180 and the NDJSON specification name it."""
        return "text/csv; charset=utf-8; header=present" if self is Format.CSV else "application/x-ndjson"


def head(form: Format, columns: Sequence[str]) -> bytes:
    """What stands before the first record."""
    return _row(columns) if form is Format.CSV else b""


def line_of(form: Format, columns: Sequence[str]) -> Line:
    """Makes the line of a record, which has exactly these columns."""
    if form is Format.NDJSON:
        return lambda record: to_json({name: record[name] for name in columns}) + b"\n"
    return lambda record: _row(_cell(to_jsonable_python(record[name])) for name in columns)


def _row(cells: Iterable[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode()


def _cell(value: Any) -> str:  # noqa: ANN401 - whatever JSON knows
    """A value as it stands in a cell. Numbers are ours and stay numbers; text never begins a formula."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return json.dumps(value)
        case list():
            return harmless("; ".join(map(str, value)))
        case dict():
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return harmless(str(value))


def harmless(text: str) -> str:
    """Text with an apostrophe before it where a spreadsheet would otherwise calculate it."""
    return f"'{text}" if _FORMULA.match(text) else text
