"""Findings from one evaluation to the next."""

from datetime import UTC, datetime, timedelta

import pytest
from plumbline_contracts.events import ControlResult, Outcome, UnknownReason
from plumbline_score_api.pictures.picture import Control
from plumbline_score_api.projection.findings import Finding, settle

START = datetime(2026, 11, 24, tzinfo=UTC)


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
    before: dict[str, Control] = {}
    kept: dict[str, ControlResult] = {}
    for outcome, reason, hours in steps:
        (finding,) = settle(before, kept, [_result(outcome, reason)], START + timedelta(hours=hours))
        before, kept = {"C-1": finding.control}, {"C-1": finding.result}
    return finding


def test_a_passing_failure_to_read_keeps_the_last_outcome() -> None:
    finding = _history((Outcome.PASS, None, 0), (Outcome.UNKNOWN, UnknownReason.COLLECTION_ERROR, 5))
    assert finding.result.outcome is Outcome.PASS
    assert finding.stale_since == START + timedelta(hours=5)
    assert finding.control.stale_since == finding.stale_since


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
    mended = _history((Outcome.PASS, None, 0), (Outcome.FAIL, None, 1), (Outcome.PASS, None, 2))
    assert mended.regressed_at is None
    assert mended.first_seen_at == START


def test_a_control_that_vanished_has_no_finding() -> None:
    (known,) = settle({}, {}, [_result(Outcome.PASS)], START)
    assert settle({"C-1": known.control}, {}, [], START + timedelta(hours=1)) == []


def test_a_reread_failure_ends_the_stand_in() -> None:
    error = UnknownReason.COLLECTION_ERROR
    finding = _history((Outcome.PASS, None, 0), (Outcome.UNKNOWN, error, 1), (Outcome.FAIL, None, 2))
    assert finding.result.outcome is Outcome.FAIL
    assert finding.stale_since is None
    assert finding.regressed_at == START + timedelta(hours=2)


def test_a_later_failure_to_read_begins_a_new_day() -> None:
    error = UnknownReason.COLLECTION_ERROR
    finding = _history(
        (Outcome.PASS, None, 0), (Outcome.UNKNOWN, error, 20), (Outcome.PASS, None, 21), (Outcome.UNKNOWN, error, 40)
    )
    assert finding.result.outcome is Outcome.PASS
    assert finding.stale_since == START + timedelta(hours=40)


def test_what_was_never_measured_is_unknown_at_once() -> None:
    finding = _history((Outcome.UNKNOWN, UnknownReason.COLLECTION_ERROR, 0))
    assert finding.result.outcome is Outcome.UNKNOWN
    assert finding.stale_since is None


def test_when_it_last_passed_is_known_while_it_fails() -> None:
    fallen = _history(
        (Outcome.PASS, None, 0), (Outcome.PASS, None, 1), (Outcome.FAIL, None, 2), (Outcome.FAIL, None, 3)
    )
    assert fallen.passed_at == START + timedelta(hours=1)
    assert fallen.control.passed_at == fallen.passed_at
    error = UnknownReason.COLLECTION_ERROR
    assert _history((Outcome.PASS, None, 0), (Outcome.UNKNOWN, error, 5)).passed_at == START
    assert _history((Outcome.FAIL, None, 0), (Outcome.FAIL, None, 1)).passed_at is None
    assert _history((Outcome.FAIL, None, 0), (Outcome.PASS, None, 1)).passed_at == START + timedelta(hours=1)
