"""The rules of a score."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from plumbline_contracts.events import Insights, Outcome
from plumbline_score_api.scores.scoring import Measured, Points, counted, points_of, total


def _measured(outcome: Outcome, maximum: float, share: float, stale: bool) -> Measured:
    fixed = {Outcome.PASS: 1.0, Outcome.PARTIAL: share}.get(outcome, 0.0)
    return Measured(outcome, round(maximum * fixed, 3), maximum, stale)


CONTROLS = st.lists(
    st.builds(
        _measured,
        st.sampled_from(list(Outcome)),
        st.integers(0, 10).map(float),
        st.floats(0.01, 0.99),
        st.booleans(),
    ),
    max_size=30,
)


def _score(controls: list[Measured]) -> Points:
    return total(points_of(control) for control in controls)


@given(CONTROLS)
def test_a_score_lies_between_nothing_and_everything(controls: list[Measured]) -> None:
    score = _score(controls)
    assert 0 <= score.current <= score.maximum + 1e-9
    assert 0 <= score.percentage <= 100
    assert 0 <= score.coverage <= 100


@given(CONTROLS, st.integers(0, 29))
def test_unknown_never_raises_a_score(controls: list[Measured], position: int) -> None:
    if position >= len(controls) or controls[position].outcome is Outcome.NOT_APPLICABLE:
        return
    lost = list(controls)
    lost[position] = Measured(Outcome.UNKNOWN, 0.0, controls[position].max_points)
    assert _score(lost).current <= _score(controls).current
    assert _score(lost).percentage <= _score(controls).percentage
    assert _score(lost).measured <= _score(controls).measured


@given(CONTROLS, st.randoms(use_true_random=False))
def test_order_does_not_matter(controls: list[Measured], random: Any) -> None:
    shuffled = list(controls)
    random.shuffle(shuffled)
    assert _score(shuffled) == _score(controls)


@given(CONTROLS, st.integers(1, 5))
def test_sums_agree_across_slices(controls: list[Measured], slices: int) -> None:
    parts = [_score(controls[n::slices]) for n in range(slices)]
    assert total(parts) == _score(controls)


def test_not_applicable_leaves_both_sides() -> None:
    assert _score([Measured(Outcome.NOT_APPLICABLE, 0, 10)]) == Points(0, 0, 0)


def test_stale_counts_and_is_not_measured() -> None:
    assert points_of(Measured(Outcome.PASS, 4, 4, is_stale=True)) == Points(4, 4, 0)


def test_main_and_on_count() -> None:
    assert counted({"a": Insights.MAIN, "b": Insights.ON, "c": Insights.OFF}) == {"a", "b"}
