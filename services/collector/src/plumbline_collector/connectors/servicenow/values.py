"""Cells of the Table API as Python values. Every value comes as text; dates are UTC; what cannot be read is None."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from plumbline_contracts.events import Row

_LIST_SEPARATORS = re.compile(r"[,;\s]+")
_MOMENT_LENGTH, _SEPARATORS = len("2026-03-12 08:11:02"), "-- ::"
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
LARGEST = 2**53
"""Beyond it a whole number is no value of a setting, and not every reader of JSON keeps it."""
MOST_REMEMBERED = 1024
"""How many texts are remembered with what they mean; most cells say one of a few things."""
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


def is_filled(value: str | None) -> bool | None:
    """Whether a cell holds anything but space; None when it is not there."""
    return None if value is None else bool(value and value.strip())


def flag(row: Mapping[str, Any], name: str) -> bool | None:
    """The cell as `meant` reads it."""
    return meant(text(row, name))


@lru_cache(maxsize=MOST_REMEMBERED)
def meant(value: str | None) -> bool | None:
    """`true` and `1`, `false` and `0`, in any case and with space around them; any other text says nothing."""
    return _FLAGS.get(value.strip().lower()) if value else None


def number(row: Mapping[str, Any], name: str) -> int | None:
    """The cell as `whole` reads it."""
    return whole(text(row, name))


@lru_cache(maxsize=MOST_REMEMBERED)
def whole(value: str | None) -> int | None:
    """A whole number; None when the text is empty or holds none, or one that is too large to be meant."""
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
    if len(written) != _MOMENT_LENGTH or written[4::3] != _SEPARATORS:
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
    days = since.days
    if days >= 0:
        return days
    return None if since < -CLOCK_SKEW else 0


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
