"""Cells of the Table API as Python values. Every value comes as text; dates are UTC; what cannot be read is None."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from plumbline_contracts.events import Row

_LIST_SEPARATORS = re.compile(r"[,;\s]+")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
LARGEST = 2**53
"""Beyond it a whole number is no value of a setting, and not every reader of JSON keeps it."""
CLOCK_SKEW = timedelta(days=1)
"""How far ahead of ours the instance's clock may be."""


def text(row: Mapping[str, Any], name: str) -> str | None:
    """The cell as text; an empty one stays, one that is not there (or no text) is None."""
    value = row.get(name)
    return value if isinstance(value, str) else None


def filled(row: Mapping[str, Any], name: str) -> str | None:
    """The cell as text without the space around it; None when it is empty or not there."""
    value = row.get(name)
    return value.strip() or None if isinstance(value, str) else None


def flag(row: Mapping[str, Any], name: str) -> bool | None:
    """`true` and `1`, `false` and `0`, in any case and with space around them; any other cell says nothing."""
    value = row.get(name)
    if not isinstance(value, str):
        return None
    found = _FLAGS.get(value)
    return found if found is not None or not value else _FLAGS.get(value.strip().lower())


def number(row: Mapping[str, Any], name: str) -> int | None:
    """A whole number; None when the cell is empty or holds none, or one that is too large to be meant."""
    value = filled(row, name)
    try:
        found = int(value) if value is not None else None
    except ValueError:
        return None
    return found if found is not None and abs(found) <= LARGEST else None


def items(row: Mapping[str, Any], name: str) -> list[str] | None:
    """The members of a list cell (commas, semicolons or line ends between them); an empty cell is an empty list."""
    value = text(row, name)
    return None if value is None else [item for item in _LIST_SEPARATORS.split(value) if item]


def moment(value: str | None) -> datetime | None:
    """A date of the Table API (`2026-03-12 08:11:02`, UTC); None when it is empty or no such date."""
    written = value.strip() if value else ""
    if not _MOMENT.fullmatch(written):
        return None
    try:
        return datetime.fromisoformat(f"{written}+00:00")
    except ValueError:
        return None


def timestamp(row: Mapping[str, Any], name: str) -> str | None:
    """A date cell as RFC 3339; None when it is empty or no date."""
    at = moment(text(row, name))
    return at.isoformat().replace("+00:00", "Z") if at else None


def days_since(row: Mapping[str, Any], name: str, now: datetime) -> int | None:
    """Whole days from a date cell to `now`, as `days_between` counts them; None without a date."""
    return days_between(moment(text(row, name)), now)


def days_between(at: datetime | None, now: datetime) -> int | None:
    """Whole days from a moment to `now`, never negative; None without a moment.

    None also when it is more than a day in the future: that is no clock that is fast, it is a wrong value.
    """
    if at is None:
        return None
    since = now - at
    return None if since < -CLOCK_SKEW else max(0, since.days)


def days_until(row: Mapping[str, Any], name: str, now: datetime) -> int | None:
    """Whole days from `now` to a date cell, negative once it is past; None without a date."""
    at = moment(text(row, name))
    return (at - now).days if at else None


def present(row: Mapping[str, Any]) -> Row:
    """The row without what is not known."""
    found = dict(row)
    for name in [name for name, value in row.items() if value is None]:
        del found[name]
    return found
