"""Cursors there and back, and refused when they are not ours."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_score_api.problems import InvalidError
from plumbline_score_api.recommendations import cursors


@given(st.text(max_size=50), st.text(max_size=50), st.integers(0, 1000))
def test_a_cursor_comes_back_as_it_went(scope: str, text: str, number: int) -> None:
    assert cursors.decode(cursors.encode(scope, text, number), scope, str, int) == [text, number]


@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_any_changed_character_is_refused_or_means_the_same(position: int, character: str) -> None:
    cursor = cursors.encode("list", "06000/1/2/SF-ID-01/sales-eu")
    position %= len(cursor)
    changed = cursor[:position] + character + cursor[position + 1 :]
    try:
        assert cursors.decode(changed, "list", str) == ["06000/1/2/SF-ID-01/sales-eu"]
    except InvalidError:
        assert changed != cursor


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(InvalidError, match="filters"):
        cursors.decode(cursors.encode("recommendations of contoso", "a"), "recommendations of fabrikam", str)


def _made_by_hand(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "!!!", "é", "bnVsbA", _made_by_hand([]), _made_by_hand(["a"]), _made_by_hand([1, 2]),
        _made_by_hand(["0" * 16, -1, 0]), _made_by_hand(["\ud800", 0, 0]), _made_by_hand({"a": 1}), "W" * 400,
    ],
)  # fmt: skip
def test_a_foreign_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="cursor"):
        cursors.decode(text, "list", int, int)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(InvalidError, match="cursor"):
        cursors.decode(_made_by_hand(["0" * 16, "\ud800"]), "list", str)
