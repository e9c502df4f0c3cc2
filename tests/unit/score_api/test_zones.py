"""Which zone a score lies in."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_score_api.zones.schemas import ZonesBody
from plumbline_score_api.zones.zone import DEFAULT_LIMITS, Zone, ZoneLimits
from pydantic import ValidationError

WORST_FIRST = [Zone.POOR, Zone.FAIR, Zone.GOOD]
PERCENTAGES = st.floats(0, 100)
LIMITS = st.tuples(st.floats(0.01, 99), st.floats(0.01, 100)).filter(lambda both: both[0] < both[1])


@given(LIMITS, PERCENTAGES, PERCENTAGES)
def test_a_better_score_never_lies_in_a_worse_zone(limits: tuple[float, float], one: float, other: float) -> None:
    zones = ZoneLimits(fair_from=limits[0], good_from=limits[1])
    worse, better = (zones.zone(percentage, 1) for percentage in sorted((one, other)))
    assert worse is not None
    assert better is not None
    assert WORST_FIRST.index(worse) <= WORST_FIRST.index(better)


@pytest.mark.parametrize(
    ("percentage", "zone"),
    [(0, "poor"), (49.99, "poor"), (50, "fair"), (79.99, "fair"), (80, "good"), (100, "good")],
)
def test_a_zone_begins_at_its_limit(percentage: float, zone: str) -> None:
    assert DEFAULT_LIMITS.zone(percentage, 10) == zone


def test_without_possible_points_there_is_no_zone() -> None:
    assert DEFAULT_LIMITS.zone(0, 0) is None


@pytest.mark.parametrize(
    "limits",
    [
        {"fair_from": 80, "good_from": 80}, {"fair_from": 81, "good_from": 80}, {"fair_from": 0, "good_from": 80},
        {"fair_from": -1, "good_from": 80}, {"fair_from": 50, "good_from": 100.1}, {"fair_from": 50},
        {"fair_from": "50", "good_from": 80}, {"fair_from": True, "good_from": 80},
        {"fair_from": None, "good_from": 80},
        {"fair_from": float("nan"), "good_from": 80}, {"fair_from": 50, "good_from": float("inf")},
        {"fair_from": 50, "good_from": 80, "best_from": 90}, {"fair_from": {"$gt": 1}, "good_from": 80},
    ],
)  # fmt: skip
def test_limits_that_make_no_sense_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ZonesBody.model_validate(limits)
