"""What reads alike is read as everybody reads it; what does not is refused. Moments and text of callers."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_score_api.json_bodies import is_json, parsed
from plumbline_score_api.moments import Moment
from plumbline_score_api.problems import BadRequestError
from plumbline_score_api.texts import Line, Text
from pydantic import TypeAdapter, ValidationError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)
FIRST, LAST = datetime.fromisoformat("0002-01-01"), datetime.fromisoformat("9998-12-31")
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(VALUES)
def test_json_is_read_as_everybody_reads_it(value: Any) -> None:
    assert parsed(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")) == value


@given(st.binary(max_size=200))
def test_bytes_are_json_or_refused(body: bytes) -> None:
    try:
        found = parsed(body)
    except BadRequestError:
        return
    assert found == json.loads(body)


@given(st.dictionaries(st.text(), st.integers(), min_size=1), st.data())
def test_a_name_that_stands_twice_is_refused_wherever_it_stands(value: dict[str, int], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(value)))
    body = json.dumps(value)[:-1] + f", {json.dumps(name)}: 0}}"
    for nested in (body, f"[{body}]", f'{{"x": [{{"y": {body}}}]}}'):
        with pytest.raises(BadRequestError, match="stands twice"):
            parsed(nested.encode())


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", True), ("application/json; charset=utf-8", True), ("APPLICATION/JSON", True),
        ("application/merge-patch+json", True), ("text/json", False), ("application/jsonp", False), ("", False),
        ("application/x-www-form-urlencoded", False), (";", False), ("json", False),
    ],
)  # fmt: skip
def test_what_is_announced_as_json(content_type: str, expected: bool) -> None:
    assert is_json(content_type) is expected


@given(st.datetimes(FIRST, LAST, timezones=OFFSETS))
def test_every_moment_of_rfc_3339_is_one_and_the_same(moment: datetime) -> None:
    assert MOMENT.validate_python(moment.isoformat()) == moment
    assert MOMENT.validate_python(moment.astimezone(UTC).isoformat().replace("+00:00", "Z")).tzinfo is UTC


@given(
    st.integers() | st.floats() | st.booleans() | st.integers().map(str) | st.floats().map(str) | st.dates().map(str)
)
def test_a_number_or_a_date_is_no_moment(sent: Any) -> None:
    with pytest.raises(ValidationError):
        MOMENT.validate_python(sent)


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\x1f"])
def test_text_steers_nothing(character: str) -> None:
    for kind in (Line, Text):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(f"a{character}b")


def test_text_has_lines_and_a_line_is_one() -> None:
    assert TypeAdapter(Text).validate_python(" first\n\tsecond ") == "first\n\tsecond"
    with pytest.raises(ValidationError):
        TypeAdapter(Line).validate_python("first\nsecond")
    for kind in (Line, Text):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(" \u00a0 ")
