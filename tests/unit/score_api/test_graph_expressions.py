"""OData expressions: what they mean, what they refuse, and that nothing else can happen."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_score_api.graph.entities import CONTROL_PROFILE, SECURE_SCORE
from plumbline_score_api.graph.expressions import (
    DEEPEST,
    LONGEST,
    MOST_TOKENS,
    ExpressionError,
    parse_filter,
    parse_orderby,
    parse_select,
)

PROFILE: dict[str, Any] = {
    "id": "MDA_SF_forceRelogin",
    "azureTenantId": "0f1d2c3b-4a59-4687-9786-a5b4c3d2e1f0",
    "complianceInformation": [
        {"certificationName": "SOC 2", "certificationControls": [{"name": "CC6.1", "url": None}]},
        {"certificationName": "O'Reilly", "certificationControls": []},
    ],
    "controlCategory": "Identity",
    "controlStateUpdates": [{"state": "Ignored", "updatedDateTime": "2026-11-01T10:00:00Z", "comment": None}],
    "deprecated": False,
    "lastModifiedDateTime": "2026-11-20T00:00:00Z",
    "maxScore": 3.0,
    "rank": 7,
    "actionUrl": None,
    "service": "MDA_SF",
    "threats": ["Account breach", "Data Exfiltration"],
    "title": "Force relogin",
    "vendorInformation": {"provider": "SecureScore", "subProvider": None},
}


def _matches(text: str) -> bool:
    return parse_filter(text, CONTROL_PROFILE)(PROFILE)


@pytest.mark.parametrize(
    "text",
    [
        "service eq 'MDA_SF'", "service eq 'mda_sf'", "'MDA_SF' eq service", "service ne 'MDA_SNOW'",
        "maxScore ge 3", "maxScore eq 3.0", "maxScore lt 3.5", "rank gt -1", "rank eq '7'", "maxScore eq '3'",
        "deprecated eq false", "not deprecated", "not (deprecated)", "deprecated eq 'false'", "deprecated ne true",
        "actionUrl eq null", "null eq actionUrl", "title ne null", "not (actionUrl gt 'a')",
        "lastModifiedDateTime ge 2026-11-20", "lastModifiedDateTime lt 2026-11-20T01:00:00+00:30",
        "lastModifiedDateTime eq '2026-11-20T00:00:00Z'", "lastModifiedDateTime gt 2026-11-19T23:59:59.9999999Z",
        "azureTenantId eq 0F1D2C3B-4A59-4687-9786-A5B4C3D2E1F0",
        "startswith(id, 'mda_')", "endswith(id,'Relogin')", "contains(title,'RELOG')", "contains(id,'_')",
        "tolower(service) eq 'mda_sf' and toupper(id) ne 'x'", "contains(tolower(title), 'force') eq true",
        "service in ('MDA_SNOW','MDA_SF')", "rank in (6, 7)",
        "threats/any(t: t eq 'account breach')", "threats/any()", "threats/any(t:contains(t,'exfil'))",
        "not threats/any(t: t eq 'Spoofing')",
        "controlStateUpdates/any(u: u/state eq 'Ignored' and u/updatedDateTime lt 2026-11-02)",
        "complianceInformation/any(c: c/certificationControls/any(k: k/name eq 'CC6.1'))",
        "complianceInformation/any(c: c/certificationName eq 'o''reilly')",
        "vendorInformation/provider eq 'SecureScore'", "vendorInformation/subProvider eq null",
        "rank eq 1 and rank eq 2 or rank eq 7", "rank eq 7 or rank eq 1 and rank eq 2",
        "(rank eq 7 or rank eq 1) and not (rank eq 2)", "  rank   eq 7  ",
    ],
)  # fmt: skip
def test_what_matches(text: str) -> None:
    assert _matches(text)
    assert not _matches(f"not ({text})")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"), ("   ", "empty"), ("service", "boolean"), ("service eq", "the end"), ("eq 'x'", "property"),
        ("service eq 'x' and", "the end"), ("service eq 'x') ", r"Syntax error at '\)'"), ("(title eq 'x'", "expected"),
        ("service = 'x'", "position 7"), ("service eq 'x", "position 10"), ("service eq \"x\"", "position"),
        ("nothing eq 'x'", "named 'nothing' on type 'microsoft.graph.secureScoreControlProfile'"),
        ("vendorInformation/nothing eq 'x'", "'nothing' on type 'vendorInformation'"), ("title/x eq 'x'", "'x'"),
        ("rank eq true", "'Edm.Double' and 'Edm.Boolean' for operator kind 'Equal'"), ("rank eq 'seven'", "Edm.Double"),
        ("deprecated gt true", "GreaterThan"), ("title eq 7", "incompatible"), ("maxScore eq rank and 5", "boolean"),
        ("lastModifiedDateTime ge 2026-11-20T00:00:00", "Edm.DateTimeOffset"), ("threats eq 'x'", "incompatible"),
        ("lastModifiedDateTime ge 2026-13-40", "Edm.DateTimeOffset"), ("vendorInformation eq null", "incompatible"),
        ("substringof('x', title)", "unknown function"), ("startswith(title)", "unknown function"),
        ("startswith(rank, '7')", "takes Edm.String"), ("length(title) gt 3", "unknown function"),
        ("threats/any(t t eq 'x')", "':' is expected"), ("threats/any(title: title eq 'x')", "variable of 'any'"),
        ("threats/all(t: t eq 'x')", "'all'"), ("threats/any(t: t)", "boolean"), ("title/any()", "'any'"),
        ("threats/any(t: t eq 'x') and t eq 'x'", "named 't'"), ("rank in ()", "Syntax error"), ("rank in 7", r"'\('"),
        ("$it/rank eq 7", "position 0"), ("not", "the end"), ("service eq title title", "Syntax error at 'title'"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse_filter(text, CONTROL_PROFILE)


def test_large_parts_of_a_score_are_not_filtered_by() -> None:
    for text in ("controlScores/any(c: c/score gt 1)", "controlScores/any()", "averageComparativeScores eq null"):
        with pytest.raises(ExpressionError):
            parse_filter(text, SECURE_SCORE)


def test_the_work_is_bounded() -> None:
    chain = " or ".join(["rank eq 1"] * (MOST_TOKENS // 4))
    assert not _matches(chain)
    for text in (
        f"rank eq 1 or {chain} or rank eq 7",
        "(" * (DEEPEST + 1) + "rank eq 7" + ")" * (DEEPEST + 1),
        "not " * (DEEPEST + 1) + "deprecated",
        "tolower(" * (DEEPEST + 1) + "title" + ")" * (DEEPEST + 1) + " eq 'x'",
        "rank eq 7" + " " * LONGEST,
    ):
        with pytest.raises(ExpressionError, match=r"deeper|more than|longer"):
            parse_filter(text, CONTROL_PROFILE)
    assert _matches("(" * DEEPEST + "rank eq 7" + ")" * DEEPEST)


_WORDS = st.sampled_from(
    [*"(),/:'", "eq", "gt", "in", "and", "or", "not", "any", "t", "null", "true", "7", "-1.5e9", "'x'", "''''",
     "2026-11-20", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "contains", "tolower",
     *CONTROL_PROFILE.properties, "state", "updatedDateTime", "certificationControls", "name", "\x00", "ß", "$x"]
)  # fmt: skip


@given(st.one_of(st.text(max_size=80), st.lists(_WORDS, max_size=14).map(" ".join), st.lists(_WORDS).map("".join)))
def test_any_text_is_an_answer_or_an_expression_error(text: str) -> None:
    for parse in (parse_filter, parse_orderby, parse_select):
        try:
            found: Any = parse(text, CONTROL_PROFILE)
        except ExpressionError:
            continue
        if callable(found):
            assert found(PROFILE) in (True, False)
        elif found and isinstance(found, list):
            sorted([PROFILE, {}], key=found[0][0])


_ATOMS = st.sampled_from(["rank eq 7", "rank eq 8", "deprecated", "actionUrl eq null", "threats/any(t: t eq 'x')"])
_TREES = st.recursive(
    _ATOMS.map(lambda text: (text, _matches(text))),
    lambda inner: st.one_of(
        inner.map(lambda one: (f"not ({one[0]})", not one[1])),
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]}) and ({two[1][0]})", two[0][1] and two[1][1])),
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]}) or ({two[1][0]})", two[0][1] or two[1][1])),
    ),
    max_leaves=8,
)


@given(_TREES)
def test_logic_is_logic(tree: tuple[str, bool]) -> None:
    text, expected = tree
    assert _matches(text) is expected


def test_orderby_sorts_by_several_properties_with_nothing_first() -> None:
    rows: list[dict[str, Any]] = [
        {"title": "b", "rank": 1},
        {"title": "A", "rank": 1},
        {"title": None, "rank": 2},
        {"title": "c", "rank": 3},
    ]
    keys = parse_orderby("rank desc, title", CONTROL_PROFILE)
    for key, descends in reversed(keys):
        rows.sort(key=key, reverse=descends)
    assert [row["title"] for row in rows] == ["c", None, "A", "b"]
    (by_title,) = parse_orderby("title asc", CONTROL_PROFILE)
    assert [row["title"] for row in sorted(rows, key=by_title[0])] == [None, "A", "b", "c"]
    (by_path,) = parse_orderby("vendorInformation/provider", CONTROL_PROFILE)
    assert by_path[0](PROFILE) == (True, "securescore")


@pytest.mark.parametrize(
    "text", ["", "rank,", "rank up", "nothing", "threats", "vendorInformation", "rank desc asc", "rank eq 7", "7",
             "threats/any()", ",".join(["rank"] * 11)]
)  # fmt: skip
def test_orderby_refuses(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_orderby(text, CONTROL_PROFILE)


def test_select_gives_the_properties_in_their_own_order() -> None:
    assert parse_select("title, id,id", CONTROL_PROFILE) == ("id", "title")
    assert parse_select("*", SECURE_SCORE) == tuple(SECURE_SCORE.properties)
    with pytest.raises(ExpressionError, match="named 'nothing'"):
        parse_select("id,nothing", CONTROL_PROFILE)
