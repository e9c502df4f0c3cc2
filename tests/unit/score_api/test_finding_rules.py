"""Whatever happens to a finding in whatever order: what receivers rely on holds."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from plumbline_contracts.events import Insights
from plumbline_score_api.decisions.decision import Ended, Status
from plumbline_score_api.findings.lifecycle import (
    FindingState,
    Options,
    Seen,
    Telling,
    Transition,
    evidence_due,
    gone,
    heartbeat,
    is_told,
    replay,
    step,
)
from plumbline_score_api.findings.ocsf import write
from plumbline_score_api.findings.state import OPEN, Activity, Standing, StatusId, Verdict
from plumbline_score_api.findings.validation import problems

from tests.unit.score_api.telling import START, broken_promises, facts, seen

CLOSED = (StatusId.RESOLVED, StatusId.ARCHIVED, StatusId.DELETED)
ENDS = (Transition.CONTROL_RETIRED, Transition.INSTANCE_DISCONNECTED, Transition.TENANT_ERASED)
DECISIONS = [None, Status.PLANNED, Status.RISK_ACCEPTED, Status.RESOLVED_THIRD_PARTY]
SEEN = st.builds(
    seen,
    st.sampled_from([verdict for verdict in Verdict if verdict is not Verdict.NOT_EVALUATED]),
    st.sampled_from(DECISIONS),
    observed=st.sampled_from(["o1", "o2"]),
    exposed=st.sampled_from(["e1", "e2"]),
    definition=st.sampled_from(["d1", "d2"]),
    insights=st.sampled_from(Insights),
    ended=st.sampled_from([None, *Ended]),
    is_stale=st.booleans(),
    snapshot_started_at=st.integers(-3, 3).map(lambda hours: START + timedelta(hours=hours)),
)
WHAT = SEEN | st.sampled_from(["heartbeat", "replay", *ENDS])
MINUTES = st.sampled_from([-5, 0, 1, 20, 61, 24 * 60 * 31])
EVENTS = st.lists(st.tuples(WHAT, MINUTES), max_size=12)
OPTIONS = st.builds(Options, st.booleans())


def _run(events: list[tuple[object, int]], options: Options) -> tuple[FindingState | None, list[Telling]]:
    """A life of one finding; every step is made twice, and the second time must tell nothing."""
    state: FindingState | None = None
    known: Seen | None = None
    tellings: list[Telling] = []
    at = START
    for number, (what, minutes) in enumerate(events):
        at += timedelta(minutes=minutes)
        cause = f"cause-{number}"
        told: list[Telling] = []
        if isinstance(what, Seen):
            known = what
            before = state
            state, told = step(before, what, cause_id=cause, at=at, options=options)
            assert step(before, what, cause_id=cause, at=at, options=options) == (state, told)
            assert step(state, what, cause_id=cause, at=at, options=options)[1] == []
        elif state is None:
            continue
        elif what == "heartbeat":
            state, told = heartbeat(state, at)
            assert heartbeat(state, at) == (state, [])
        elif what == "replay":
            state, told = replay(state, known, cause_id=cause, at=at, options=options)
        else:
            known = None
            state, told = gone(state, Transition(str(what)), cause_id=cause, at=at)
            assert gone(state, Transition(str(what)), cause_id=cause, at=at) == (state, [])
        assert FindingState.from_list(state.finding, state.to_list()) == state
        assert len(told) <= 1
        tellings += told
    return state, tellings


@settings(deadline=None, max_examples=300)
@given(EVENTS, OPTIONS)
def test_what_receivers_rely_on(events: list[tuple[object, int]], options: Options) -> None:
    state, tellings = _run(events, options)
    assert [told.sequence for told in tellings] == list(range(1, len(tellings) + 1))
    assert len({told.event_uid for told in tellings}) == len(tellings)
    assert state is None or state.sequence == len(tellings)
    opened = 0
    for told in tellings:
        is_create = told.activity is Activity.CREATE
        opened += is_create
        assert told.episode == opened
        assert is_create == (told.standing in OPEN and told.standing_before not in OPEN)
        assert (told.activity is Activity.CLOSE) == (told.status in CLOSED)
        assert told.created_at <= told.at
        assert told.first_seen_at <= told.last_seen_at
    for before, after in pairwise(tellings):
        assert before.at <= after.at
        assert before.last_seen_at <= after.last_seen_at


@settings(deadline=None, max_examples=300)
@given(EVENTS, OPTIONS)
def test_every_event_is_valid(events: list[tuple[object, int]], options: Options) -> None:
    for told in _run(events, options)[1]:
        event, record = write(told, facts(told))
        assert problems(event, record) == []
        assert broken_promises(event) == []


@settings(deadline=None, max_examples=300)
@given(EVENTS, OPTIONS)
def test_changed_evidence_is_an_hour_apart(events: list[tuple[object, int]], options: Options) -> None:
    _, tellings = _run([event for event in events if event[1] >= 0], options)
    moments = [told.at for told in tellings if told.transition is Transition.EVIDENCE_CHANGED]
    assert all(later - earlier >= timedelta(hours=1) for earlier, later in pairwise(moments))


@settings(deadline=None, max_examples=300)
@given(EVENTS, SEEN)
def test_nothing_is_held_back_for_ever(events: list[tuple[object, int]], last: Seen) -> None:
    """After the step at which it is due, a receiver knows outcome and evidence as they are."""
    state, _ = _run(events, Options())
    at = START + timedelta(days=365 * 2)
    state, _ = step(state, last, cause_id="last", at=at)
    due = evidence_due(state)
    if due is not None:
        state, _ = step(state, last, cause_id="due", at=due)
    assert evidence_due(state) is None
    assert state.verdict is last.verdict
    if state.standing in OPEN and last.verdict in (Verdict.FAIL, Verdict.PARTIAL):
        assert (state.observed, state.exposed, state.definition) == (last.observed, last.exposed, last.definition)


@settings(deadline=None, max_examples=300)
@given(EVENTS)
def test_an_unread_result_neither_opens_nor_closes(events: list[tuple[object, int]]) -> None:
    """Unless a claim that had closed the finding ends."""
    state, _ = _run(events, Options())
    if state is None or state.standing in (Standing.THIRD_PARTY, Standing.ALTERNATE_MITIGATION):
        return
    disposition = Status(state.standing.value.lower()) if state.standing in OPEN - {Standing.TO_ADDRESS} else None
    unread = replace(seen(Verdict.UNKNOWN, disposition), decision=state.decision)
    after, _ = step(state, unread, cause_id="unread", at=START + timedelta(days=900))
    assert after.standing is (state.standing if state.standing in OPEN else Standing.NO_RESULT)


@settings(deadline=None, max_examples=600)
@given(EVENTS, SEEN, OPTIONS)
def test_what_is_told_needs_no_step(events: list[tuple[object, int]], now: Seen, options: Options) -> None:
    state, _ = _run(events, options)
    if state is None:
        return
    at = START + timedelta(days=900)
    for each in (now, _same(state, now)):
        after, tellings = step(state, each, cause_id="now", at=at, options=options)
        changes = bool(tellings) or replace(after, last_seen_at=state.last_seen_at) != state
        assert not (is_told(state, each, options) and changes)


def _same(state: FindingState, other: Seen) -> Seen:
    """What was told, seen again."""
    return replace(
        other,
        verdict=state.verdict,
        observed=state.observed,
        exposed=state.exposed,
        definition=state.definition,
        insights=state.insights,
        decision=state.decision,
    )


def test_a_finding_that_is_seen_as_it_was_told_needs_no_step() -> None:
    """Else the test above would hold for a function that never says so."""
    state, _ = step(None, seen(Verdict.FAIL), cause_id="first", at=START)
    assert is_told(state, seen(Verdict.FAIL))
    assert not is_told(state, seen(Verdict.PASS))
