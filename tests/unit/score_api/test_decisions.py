"""Which decision speaks, what people see of it, and what ends it."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plumbline_contracts.events import Outcome
from plumbline_score_api.decisions.decision import (
    RESOLVED,
    Ended,
    Seen,
    Status,
    contradiction,
    end,
    expired,
    next_expiry,
    shown,
    speaking,
    stands_on_evidence,
)

from tests.unit.score_api.painting import START, decision

DECIDABLE = [status for status in Status if status is not Status.COMPLETED]
NAMES = st.frozensets(st.sampled_from("abcdef"))


def _seen(outcome: Outcome = Outcome.FAIL, names: frozenset[str] = frozenset(), **more: Any) -> Seen:
    fields: dict[str, Any] = {
        "evaluation": "e1",
        "outcome": outcome,
        "observed": None,
        "exposed": len(names),
        "exposed_listed": len(names),
        "exposed_digest": "".join(sorted(names)) or None,
    }
    return Seen(**fields | more)


@pytest.mark.parametrize("status", DECIDABLE)
def test_what_passes_is_completed_and_else_what_holds_is_shown(status: Status) -> None:
    made = decision("C-1", status)
    for outcome in Outcome:
        assert shown(outcome, made) is (Status.COMPLETED if outcome is Outcome.PASS else status)
        assert shown(outcome, None) is (Status.COMPLETED if outcome is Outcome.PASS else Status.TO_ADDRESS)


def test_what_ended_or_was_taken_back_or_is_contradicted_is_to_be_addressed() -> None:
    made = decision("C-1", Status.RISK_ACCEPTED)
    for why in Ended:
        assert shown(Outcome.FAIL, end(made, why, START, "d")) is Status.TO_ADDRESS
    assert shown(Outcome.FAIL, decision("C-1", None)) is Status.TO_ADDRESS
    assert shown(Outcome.FAIL, made, made.decision_id) is Status.TO_ADDRESS
    assert shown(Outcome.FAIL, made, "another decision") is Status.RISK_ACCEPTED


def test_the_instance_s_own_decision_wins_even_when_it_has_ended() -> None:
    own, template = decision("C-1", Status.PLANNED), decision("C-1", Status.RISK_ACCEPTED, revision=7)
    assert speaking(own, template) == own
    assert speaking(end(own, Ended.EXPIRED, START, "d"), template) != template
    assert speaking(decision("C-1", None), template) == template
    assert speaking(None, template) == template
    assert speaking(None, None) is None
    assert speaking(None, decision("C-1", None, revision=8)) is None


def test_a_copy_speaks_for_the_template_it_was_made_from_alone() -> None:
    old, new = decision("C-1", Status.PLANNED, revision=1), decision("C-1", Status.RISK_ACCEPTED, revision=2)
    copy = old.model_copy(update={"template": old.decision_id})
    assert speaking(copy, old) == copy
    assert speaking(copy, new) == new
    assert speaking(copy, None) is None


@settings(deadline=None)
@given(NAMES, NAMES)
def test_a_new_entity_reopens_and_a_lost_one_does_not(known: frozenset[str], now: frozenset[str]) -> None:
    why = contradiction(_seen(names=known), _seen(names=now), known, now)
    assert (why is not None) == bool(now - known)


@settings(deadline=None)
@given(NAMES, NAMES, st.integers(0, 3), st.integers(0, 3))
def test_where_a_list_is_cut_any_difference_reopens(
    known: frozenset[str], now: frozenset[str], more_then: int, more_now: int
) -> None:
    then = _seen(names=known, exposed=len(known) + more_then, exposed_digest=f"{sorted(known)}{more_then}")
    later = _seen(names=now, exposed=len(now) + more_now, exposed_digest=f"{sorted(now)}{more_now}")
    why = contradiction(then, later, known, now)
    if more_then or more_now:
        assert (why is None) == (known == now and more_then == more_now)


@settings(deadline=None)
@given(st.sampled_from(list(Outcome)), st.sampled_from(list(Outcome)), st.sampled_from("ab"), st.sampled_from("ab"))
def test_another_outcome_or_observation_reopens(one: Outcome, other: Outcome, was: str, is_now: str) -> None:
    nobody: frozenset[str] = frozenset()
    why = contradiction(_seen(one, observed=was), _seen(other, observed=is_now), nobody, nobody)
    assert (why is None) == (one is other and was == is_now)


@pytest.mark.parametrize("status", DECIDABLE)
def test_only_what_was_resolved_stands_on_evidence(status: Status) -> None:
    made = decision("C-1", status, evidence=_seen())
    assert stands_on_evidence(made, "e2") == (status in RESOLVED)
    assert not stands_on_evidence(made, "e1"), "that is the evidence it was made on"
    assert not stands_on_evidence(end(made, Ended.EXPIRED, START, "d"), "e2")


def test_time_ends_what_holds_once() -> None:
    made = decision("C-1", expires_at=START + timedelta(hours=1))
    assert expired(made, START) is made
    over = expired(made, START + timedelta(hours=1))
    assert (over.ended, over.holds, over.revision) == (Ended.EXPIRED, False, made.revision + 1)
    assert expired(over, START + timedelta(hours=2)) is over
    reopened = end(made, Ended.REOPENED, START, "d")
    assert expired(reopened, START + timedelta(hours=2)) is reopened


def test_the_next_expiry_is_that_of_the_first_that_holds() -> None:
    made = {
        "a": decision("a", expires_at=START + timedelta(hours=3)),
        "b": end(decision("b", expires_at=START + timedelta(hours=1)), Ended.REOPENED, START, "d"),
        "c": decision("c", expires_at=START + timedelta(hours=2)),
        "d": decision("d"),
        "e": decision("e", None, expires_at=START),
    }
    assert next_expiry(made) == START + timedelta(hours=2)
    assert next_expiry({}) is None
