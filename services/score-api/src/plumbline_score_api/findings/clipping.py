"""Texts of any kind and length as parts of a small event. Pure.

Everything that people or a product wrote passes here. Sizes are bytes of UTF-8 as they stand in JSON, between the
quotes, so that a text of quotes or control characters is no larger than any other.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeVar

from pydantic_core import to_json

T = TypeVar("T")
_MARK = "…"
_MARK_BYTES = len(_MARK.encode())
_QUOTES = 2


class Clipper:
    """Cuts texts and counts what it takes away: `lost_bytes`, 0 when nothing was cut."""

    __slots__ = ("lost_bytes",)

    def __init__(self) -> None:
        self.lost_bytes = 0

    def text(self, value: str, limit: int) -> str:
        """The text in at most `limit` bytes, cut between characters and marked with an ellipsis where it was longer.

        Half of a surrogate pair, which UTF-8 cannot express, becomes U+FFFD.
        """
        if len(value) <= limit and value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
            return value
        return self._slow(value, limit)

    def items(self, values: Sequence[T], most: int) -> Sequence[T]:
        """The first ones; the others count as lost, about as long as they would be."""
        if len(values) <= most:
            return values
        self.lost_bytes += sum(len(str(value)) for value in values[most:])
        return values[:most]

    def _slow(self, value: str, limit: int) -> str:
        head = _encodable(value[: limit + 1])
        if len(value) <= limit and size_of(head) <= limit:
            return head
        kept = bisect_right(range(len(head) + 1), limit - _MARK_BYTES, key=lambda length: size_of(head[:length])) - 1
        self.lost_bytes += size_of(head[kept:]) + len(value[limit + 1 :].encode("utf-8", "surrogatepass"))
        return head[:kept] + _MARK


def _encodable(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value


def size_of(value: str) -> int:
    """Bytes of a text that UTF-8 can express, between the quotes of JSON."""
    return len(to_json(value)) - _QUOTES
