"""The rules of a score."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plumbline_contracts.events import Insights, Outcome
from plumbline_score_api.decisions.decision import RESOLVED, Status
from plumbline_score_api.scores.scoring import Points, Scored, counted, points_of, total

DECIDABLE = [status for status in Status if status is not Status.COMPLETED]


def _scored(outcome: Outcome, maximum: float, share: float, stale: bool, status: Status) -> Scored:
    fixed = {Outcome.PASS: 1.0, Outcome.PARTIAL: share}.get(outcome, 0.0)
    shown = Status.COMPLETED if outcome is Outcome.PASS else status
    return Scored(outcome, round(maximum * fixed, 3), maximum, stale, shown)


CONTROL = st.builds(
    _scored,
    st.sampled_from(list(Outcome)),
    st.integers(0, 10).map(float),
    st.floats(0.01, 0.99),
    st.booleans(),
    st.sampled_from(DECIDABLE),
)
CONTROLS = st.lists(CONTROL, max_size=30)


def _score(controls: list[Scored]) -> Points:
    return total(points_of(control) for control in controls)


@settings(deadline=None)
@given(CONTROLS)
def test_a_score_lies_between_nothing_and_everything(controls: list[Scored]) -> None:
    score = _score(controls)
    assert 0 <= score.current <= score.planned <= score.achievable <= score.maximum
    assert 0 <= score.measured <= score.maximum
    assert 0 <= score.percentage <= 100
    assert 0 <= score.coverage <= 100
    assert score.left >= 0


@settings(deadline=None)
@given(st.lists(CONTROL, min_size=1, max_size=30), st.data())
def test_unknown_never_raises_any_score(controls: list[Scored], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(controls) - 1))
    known = controls[place]
    if known.outcome is Outcome.NOT_APPLICABLE:
        return
    status = data.draw(st.sampled_from(DECIDABLE)) if known.status is Status.COMPLETED else known.status
    lost = [*controls]
    lost[place] = replace(known, outcome=Outcome.UNKNOWN, points=0.0, status=status)
    before, after = _score(controls), _score(lost)
    for name in ("current", "planned", "achievable", "measured"):
        assert getattr(after, name) <= getattr(before, name), name
    assert after.percentage <= before.percentage
    assert after.maximum == before.maximum


@settings(deadline=None)
@given(CONTROLS, st.randoms(use_true_random=False))
def test_order_does_not_matter(controls: list[Scored], random: Any) -> None:
    shuffled = list(controls)
    random.shuffle(shuffled)
    assert _score(shuffled) == _score(controls)


@settings(deadline=None)
@given(CONTROLS, st.lists(st.integers(0, 4), min_size=30, max_size=30))
def test_sums_agree_across_every_way_to_slice(controls: list[Scored], slices: list[int]) -> None:
    """Slices as an instance, a category or a product would cut them, and slices of slices."""
    parts = [_score([c for c, of in zip(controls, slices, strict=False) if of == n]) for n in range(5)]
    assert total(parts) == _score(controls)
    assert total([total(parts[:2]), total(parts[2:])]) == _score(controls)
    assert parts[0] + parts[1] + parts[2] + parts[3] + parts[4] == _score(controls)


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.PARTIAL, Outcome.UNKNOWN])
def test_statuses_give_what_the_rules_say(outcome: Outcome) -> None:
    """For a control that is worth 4 and was half done, where half is an outcome."""
    found = 2.0 if outcome is Outcome.PARTIAL else 0.0
    measured = 0.0 if outcome is Outcome.UNKNOWN else 4.0

    def points(status: Status) -> Points:
        return points_of(Scored(outcome, found, 4.0, status=status))

    assert points(Status.TO_ADDRESS) == Points(found, 4, measured, found, 4)
    assert points(Status.PLANNED) == Points(found, 4, measured, 4, 4)
    assert points(Status.RISK_ACCEPTED) == Points(0, 4, measured, 0, 0)
    for status in RESOLVED:
        assert points(status) == Points(4, 4, measured, 4, 4)


def test_what_mending_would_bring() -> None:
    half = Scored(Outcome.PARTIAL, 1.5, 4.0)
    left = {status: points_of(replace(half, status=status)).left for status in DECIDABLE}
    assert left == {
        Status.TO_ADDRESS: 2.5,
        Status.PLANNED: 2.5,
        Status.RISK_ACCEPTED: 0,
        Status.RESOLVED_THIRD_PARTY: 0,
        Status.RESOLVED_ALTERNATE_MITIGATION: 0,
    }


@pytest.mark.parametrize("status", DECIDABLE)
def test_not_applicable_leaves_both_sides_whatever_was_decided(status: Status) -> None:
    assert _score([Scored(Outcome.NOT_APPLICABLE, 0, 10, status=status)]) == Points()


def test_stale_counts_and_is_not_measured() -> None:
    assert points_of(Scored(Outcome.PASS, 4, 4, is_stale=True)) == Points(4, 4, 0, 4, 4)


def test_points_that_an_unknown_or_failing_control_claims_do_not_count() -> None:
    for outcome in (Outcome.UNKNOWN, Outcome.FAIL):
        assert points_of(Scored(outcome, 3, 4)).current == 0


def test_main_and_on_count() -> None:
    assert counted({"a": Insights.MAIN, "b": Insights.ON, "c": Insights.OFF}) == {"a", "b"}
