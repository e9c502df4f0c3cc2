"""Filters, search, order, counts, and summaries that add up."""

import string
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plumbline_contracts.events import Effort, Outcome, Product, Severity
from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.pictures.picture import InstancePicture, Summary
from plumbline_score_api.pictures.tenant import TenantPicture
from plumbline_score_api.recommendations.filters import Filters
from plumbline_score_api.recommendations.selection import COUNTED, Sort, counts, select

from tests.unit.score_api.painting import START, control, decision, definition, picture, tenant

EU = picture(
    [
        control("SF-1", Outcome.FAIL),
        control("SF-2", Outcome.PARTIAL, share=0.5, changed_at=START + timedelta(hours=2)),
        control("SF-3", Outcome.PASS),
        control("SF-4", Outcome.UNKNOWN, most=9, stale_since=START, regressed_at=START),
    ],
    decision("SF-1", Status.RISK_ACCEPTED, decided_at=START + timedelta(hours=3)),
    definitions=[
        definition(
            "SF-1", title="Require MFA (for everyone).*", frameworks={"cis_v8": ["6.3", "6.5"]}, aliases=["MDA_SF_1"]
        ),
        definition("SF-2", title="ZEBRA", category="Apps", severity=Severity.CRITICAL, description="Straße and MFA"),
        definition("SF-3", frameworks={"cis_v8": ["6.3"], "soc2": ["CC6.1"]}),
        definition("SF-4", severity=Severity.LOW, implementation_cost=Effort.HIGH),
    ],
)
US = picture([control("SF-1", Outcome.PASS)], instance="sales-us")
ITSM = picture([control("SN-1", Outcome.FAIL)], instance="itsm", product=Product.SERVICENOW)
EVERYTHING = tenant(EU, US, ITSM)


def _names(filters: dict[str, Any], sort: Sort = Sort.RANK) -> list[str]:
    found = select(EVERYTHING, Filters.model_validate(filters), sort)
    return [f"{item.instance}/{item.control.control_id}" for item in found.items]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"framework": ["cis_v8"]}, {"sales-eu/SF-1", "sales-eu/SF-3"}),
        ({"framework": ["soc2", "cis_v8"], "outcome": ["PASS"]}, {"sales-eu/SF-3"}),
        ({"status": ["risk_accepted"]}, {"sales-eu/SF-1"}),
        ({"status": ["completed"]}, {"sales-eu/SF-3", "sales-us/SF-1"}),
        ({"control": ["MDA_SF_1", "SN-1"]}, {"sales-eu/SF-1", "itsm/SN-1"}),
        ({"regressed": [True]}, {"sales-eu/SF-4"}),
        ({"stale": ["true"], "regressed": ["false"]}, set()),
        ({"stale": [False], "instance": ["sales-us", "itsm"]}, {"sales-us/SF-1", "itsm/SN-1"}),
        ({"regressed": [True, False], "product": ["servicenow"]}, {"itsm/SN-1"}),
        ({"text": "mfa"}, {"sales-eu/SF-1", "sales-eu/SF-2"}),
        ({"text": "  MFA   everyone "}, {"sales-eu/SF-1"}),
        ({"text": "STRASSE"}, {"sales-eu/SF-2"}),
        ({"text": "mda_sf"}, {"sales-eu/SF-1"}),
        ({"text": "sn-1"}, {"itsm/SN-1"}),
        ({"text": ".*"}, {"sales-eu/SF-1"}),
        ({"text": "(for"}, {"sales-eu/SF-1"}),
        ({"text": "["}, set()),
        ({"text": "{$gt: 1}"}, set()),
        ({"text": "", "instance": ["sales-us"]}, {"sales-us/SF-1"}),
    ],
)  # fmt: skip
def test_filters_and_search(filters: dict[str, Any], expected: set[str]) -> None:
    assert set(_names(filters)) == expected


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        (Sort.RANK, ["sales-eu/SF-4", "itsm/SN-1", "sales-eu/SF-2"]),
        (Sort.POINTS_LEFT, ["sales-eu/SF-4", "itsm/SN-1", "sales-eu/SF-2"]),
        (Sort.SEVERITY, ["sales-eu/SF-2", "itsm/SN-1", "sales-eu/SF-1"]),
        (Sort.NAME, ["sales-eu/SF-1", "sales-us/SF-1"]),
        (Sort.LAST_CHANGED, ["sales-eu/SF-1", "sales-eu/SF-2"]),
    ],
)
def test_orders(sort: Sort, first: list[str]) -> None:
    assert _names({}, sort)[: len(first)] == first


def test_accepted_risks_rank_behind_what_brings_points() -> None:
    assert _names({}).index("sales-eu/SF-1") > _names({}).index("sales-eu/SF-2")


@pytest.mark.parametrize("sort", list(Sort))
def test_a_list_goes_on_behind_any_of_its_keys(sort: Sort) -> None:
    found = select(EVERYTHING, Filters(), sort)
    assert found.keys == sorted(set(found.keys))
    assert [found.after(key) for key in found.keys] == list(range(1, len(found.keys) + 1))
    assert found.after(None) == 0
    assert sorted(found.ranks) == list(range(1, len(found.items) + 1))


@pytest.mark.parametrize(
    "filters", [{}, {"outcome": ["FAIL"]}, {"text": "mfa"}, {"category": ["Apps"], "product": ["salesforce"]}]
)
def test_counts_say_what_choosing_the_value_would_give(filters: dict[str, Any]) -> None:
    found = counts(EVERYTHING, Filters.model_validate(filters))
    assert set(found) == set(COUNTED)
    for name, values in found.items():
        for value, number in values.items():
            assert len(_names({**filters, name: [value]})) == number > 0


# --- summaries

OUTCOMES = st.sampled_from(list(Outcome))
CONTROLS = st.lists(
    st.tuples(OUTCOMES, st.floats(0.01, 0.99), st.integers(0, 10), st.sampled_from([None, *Status][:-1])), max_size=8
)


def _painted(drawn: list[Any], instance: str) -> InstancePicture:
    names = string.ascii_uppercase[: len(drawn)]
    controls = [
        control(name, outcome, share=share, most=float(most))
        for name, (outcome, share, most, _) in zip(names, drawn, strict=True)
    ]
    decisions = [decision(name, status) for name, (*_, status) in zip(names, drawn, strict=True) if status]
    definitions = [
        definition(name, category=("Identity", "Apps", "Data")[place % 3], frameworks={"soc2": [str(place % 2)]})
        for place, name in enumerate(names)
    ]
    return picture(controls, *decisions, instance=instance, definitions=definitions)


@settings(deadline=None)
@given(st.lists(CONTROLS, max_size=4))
def test_instances_categories_and_frameworks_sum_up_to_the_same(drawn: list[list[Any]]) -> None:
    pictures = [_painted(each, f"i{number}") for number, each in enumerate(drawn)]
    whole = Summary.of(item for each in pictures for item in each.items)
    slices = [
        [each.summary for each in pictures],
        [part for each in pictures for part in each.categories.values()],
        [part for each in pictures for part in each.frameworks.values()],
        [part for each in pictures for part in each.requirements("soc2").values()],
    ]
    for parts in slices:
        summed = Summary.sum(parts)
        assert summed.points == whole.points
        assert (dict(summed.outcomes), dict(summed.statuses)) == (dict(whole.outcomes), dict(whole.statuses))
        assert (summed.stale, summed.regressed) == (whole.stale, whole.regressed)


def test_a_control_of_several_ids_counts_in_each_and_once_in_the_framework() -> None:
    assert EU.frameworks["cis_v8"].points.maximum == 8
    assert {name: part.points.maximum for name, part in EU.requirements("cis_v8").items()} == {"6.3": 8, "6.5": 4}


def test_a_picture_keeps_a_bounded_number_of_answers() -> None:
    kept = TenantPicture({"sales-eu": EU})
    for number in range(200):
        select(kept, Filters(text=str(number)))
    assert len(kept._answers) <= 64
