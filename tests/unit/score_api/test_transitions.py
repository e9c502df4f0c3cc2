"""Findings from one evaluation to the next, insights from one choice to the next, cursors there and back."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_contracts.events import ControlDefinition, ControlResult, Insights, Outcome, Remediation, UnknownReason
from plumbline_score_api.instances.insights import chosen, registered
from plumbline_score_api.instances.repository import Document, choices_of
from plumbline_score_api.problems import InvalidError
from plumbline_score_api.projection.findings import Finding, settle
from plumbline_score_api.recommendations import cursors

START = datetime(2026, 11, 24, tzinfo=UTC)
DEFINITION = ControlDefinition(
    control_id="C-1",
    digest="d",
    version=1,
    catalogue_generation=1,
    product="salesforce",
    title="t",
    category="Identity",
    severity="high",
    max_points=4,
    user_impact="low",
    implementation_cost="low",
    description="d",
    rationale="r",
    remediation=Remediation(steps=["s"]),
)


def _result(outcome: Outcome, reason: UnknownReason | None = None) -> ControlResult:
    share = 1.0 if outcome is Outcome.PASS else 0.0
    return ControlResult(
        control_id="C-1",
        control_digest="d",
        outcome=outcome,
        reason=reason,
        explanation="e",
        share=share,
        points=4 * share,
        max_points=4,
    )


def _history(*steps: tuple[Outcome, UnknownReason | None, float]) -> Finding:
    known: dict[str, Finding] = {}
    for outcome, reason, hours in steps:
        at = START + timedelta(hours=hours)
        known = {"C-1": settle(known, [_result(outcome, reason)], {"C-1": DEFINITION}, at)[0]}
    return known["C-1"]


def test_a_passing_failure_to_read_keeps_the_last_outcome() -> None:
    finding = _history((Outcome.PASS, None, 0), (Outcome.UNKNOWN, UnknownReason.COLLECTION_ERROR, 5))
    assert finding.result.outcome is Outcome.PASS
    assert finding.stale_since == START + timedelta(hours=5)
    assert finding.measured.is_stale


def test_after_a_day_it_becomes_unknown() -> None:
    error = UnknownReason.COLLECTION_ERROR
    finding = _history((Outcome.PASS, None, 0), (Outcome.UNKNOWN, error, 1), (Outcome.UNKNOWN, error, 25.1))
    assert finding.result.outcome is Outcome.UNKNOWN
    assert finding.stale_since is None


@pytest.mark.parametrize("reason", [r for r in UnknownReason if r is not UnknownReason.COLLECTION_ERROR])
def test_every_other_reason_is_unknown_at_once(reason: UnknownReason) -> None:
    finding = _history((Outcome.PASS, None, 0), (Outcome.UNKNOWN, reason, 1))
    assert finding.result.outcome is Outcome.UNKNOWN


def test_a_fall_is_a_regression_until_it_passes_again() -> None:
    fallen = _history((Outcome.PASS, None, 0), (Outcome.FAIL, None, 1), (Outcome.FAIL, None, 2))
    assert fallen.regressed_at == START + timedelta(hours=1)
    assert fallen.changed_at == START + timedelta(hours=1)
    assert fallen.status == "to_address"
    mended = _history((Outcome.PASS, None, 0), (Outcome.FAIL, None, 1), (Outcome.PASS, None, 2))
    assert mended.regressed_at is None
    assert mended.status == "completed"
    assert mended.first_seen_at == START


def test_rank_puts_most_points_first() -> None:
    failing, passing = _history((Outcome.FAIL, None, 0)), _history((Outcome.PASS, None, 0))
    assert failing.rank_key("i") < passing.rank_key("i")


CHOICES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from([None, *Insights]), st.booleans()), min_size=1, max_size=12
)


@given(CHOICES)
def test_there_is_always_exactly_one_main(steps: list[tuple[str, Insights | None, bool]]) -> None:
    entries: list[Document] = []
    for instance, insights, by_person in steps:
        is_last_main = choices_of(entries).get(instance) is Insights.MAIN and insights is not Insights.MAIN
        if by_person and insights is not None and entries and not is_last_main:
            entries = chosen(entries, instance, insights, by_person=True)
        else:
            entries = registered(entries, instance, insights)
        assert list(choices_of(entries).values()).count(Insights.MAIN) == 1


def test_a_person_outlives_the_file() -> None:
    entries = registered([], "a", None)
    entries = registered(entries, "b", Insights.ON)
    entries = chosen(entries, "b", Insights.MAIN, by_person=True)
    assert choices_of(registered(entries, "a", Insights.MAIN)) == {"a": Insights.ON, "b": Insights.MAIN}
    assert choices_of(registered(entries, "b", Insights.OFF)) == choices_of(entries)


def test_other_instances_are_off_unless_the_file_says_more() -> None:
    entries = registered(registered([], "a", None), "b", None)
    assert choices_of(entries) == {"a": Insights.MAIN, "b": Insights.OFF}
    assert choices_of(registered(entries, "b", Insights.MAIN)) == {"a": Insights.ON, "b": Insights.MAIN}


@given(st.text(max_size=50), st.integers(0, 1000))
def test_a_cursor_comes_back_as_it_went(text: str, number: int) -> None:
    assert cursors.decode(cursors.encode(text, number), str, int) == [text, number]


@pytest.mark.parametrize("text", ["", "x", "!!!", "bnVsbA", "W10", "WyJhIl0", "Wy0xLCAwXQ", "é"])
def test_a_foreign_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="cursor"):
        cursors.decode(text, int, int)
