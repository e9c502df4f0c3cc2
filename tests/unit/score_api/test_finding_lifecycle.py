"""Every transition of a finding: what it is to a SIEM, and what is no transition."""

import json
from datetime import datetime, timedelta

import pytest
from plumbline_contracts import ids
from plumbline_contracts.events import Insights, Outcome, UnknownReason
from plumbline_score_api.decisions.decision import Ended, Status
from plumbline_score_api.findings.lifecycle import (
    FindingState,
    Options,
    Seen,
    Transition,
    evidence_due,
    gone,
    heartbeat,
    heartbeat_due,
    replay,
    seen_of,
    step,
)
from plumbline_score_api.findings.ocsf import write
from plumbline_score_api.findings.state import Activity, Standing, StatusId, Verdict
from plumbline_score_api.findings.validation import problems
from plumbline_score_api.pictures.picture import InstancePicture

from tests.unit.score_api.painting import control, decision, definition, picture
from tests.unit.score_api.telling import CONTROL, FINDING, INSTANCE, START, TENANT, Story, broken_promises, facts, seen

CREATE, UPDATE, CLOSE = Activity.CREATE, Activity.UPDATE, Activity.CLOSE
PASS, FAIL, PARTIAL = seen(Verdict.PASS), seen(Verdict.FAIL), seen(Verdict.PARTIAL)
UNKNOWN, ERROR, ABSENT = seen(Verdict.UNKNOWN), seen(Verdict.ERROR), seen(Verdict.NOT_APPLICABLE)
PLANNED, ACCEPTED = seen(disposition=Status.PLANNED), seen(disposition=Status.RISK_ACCEPTED)
CLAIMED = seen(disposition=Status.RESOLVED_THIRD_PARTY)
MITIGATED = seen(disposition=Status.RESOLVED_ALTERNATE_MITIGATION)
EXPIRED, REOPENED = seen(ended=Ended.EXPIRED), seen(ended=Ended.REOPENED)
HOUR, MONTH = timedelta(hours=1), timedelta(days=30)


def unread(of: Seen) -> Seen:
    """The same decision, while there is no result."""
    return seen(Verdict.UNKNOWN, of.disposition)


Row = tuple[str, list[Seen | Transition], Seen | Transition, tuple[str, Activity, int, int, int]]
HIGH, LOW, NONE = 4, 2, 1
"""Severities; the control's is high."""
TABLE: list[Row] = [
    ("first failure", [], FAIL, ("failed", CREATE, 1, 3, HIGH)),
    ("first partial failure", [], PARTIAL, ("failed", CREATE, 1, 3, HIGH)),
    ("failure after no result", [UNKNOWN], FAIL, ("failed", CREATE, 1, 3, HIGH)),
    ("failure after not applicable", [ABSENT], FAIL, ("failed", CREATE, 1, 3, HIGH)),
    ("failure that was planned before", [UNKNOWN], PLANNED, ("failed", CREATE, 2, 3, HIGH)),
    ("failure that was accepted before", [], ACCEPTED, ("failed", CREATE, 3, 3, HIGH)),
    ("failure that was claimed before", [], CLAIMED, ("claimed", CLOSE, 4, 3, HIGH)),
    ("failure after a retirement", [PASS, Transition.CONTROL_RETIRED], FAIL, ("failed", CREATE, 1, 3, HIGH)),
    ("other observed value", [FAIL], seen(observed="o2"), ("evidence_changed", UPDATE, 1, 3, HIGH)),
    ("other entities", [ACCEPTED], seen(disposition=Status.RISK_ACCEPTED, exposed="e2"),
     ("evidence_changed", UPDATE, 3, 3, HIGH)),
    ("other outcome", [FAIL], PARTIAL, ("evidence_changed", UPDATE, 1, 3, HIGH)),
    ("result again", [FAIL, UNKNOWN], FAIL, ("evidence_changed", UPDATE, 1, 3, HIGH)),
    ("pass after a failure", [FAIL], PASS, ("passed", CLOSE, 4, 1, NONE)),
    ("pass after no result", [UNKNOWN], PASS, ("passed", CLOSE, 4, 1, NONE)),
    ("pass after not applicable", [ABSENT], PASS, ("passed", CLOSE, 4, 1, NONE)),
    ("pass under a claim", [FAIL, CLAIMED], seen(Verdict.PASS, Status.RESOLVED_THIRD_PARTY),
     ("passed", CLOSE, 4, 1, NONE)),
    ("failure after a pass", [FAIL, PASS], FAIL, ("regressed", CREATE, 1, 3, HIGH)),
    ("failure after a pass nobody heard of", [PASS], FAIL, ("regressed", CREATE, 1, 3, HIGH)),
    ("planned, passed, failed", [FAIL, PLANNED, PASS], PLANNED, ("regressed", CREATE, 2, 3, HIGH)),
    ("accepted, passed, failed", [FAIL, ACCEPTED, PASS], ACCEPTED, ("regressed", CREATE, 3, 3, HIGH)),
    ("no result while open", [FAIL], UNKNOWN, ("no_result", UPDATE, 1, 2, HIGH)),
    ("error while accepted", [ACCEPTED], seen(Verdict.ERROR, Status.RISK_ACCEPTED), ("no_result", UPDATE, 3, 99, HIGH)),
    ("error after no result while open", [FAIL, UNKNOWN], ERROR, ("no_result", UPDATE, 1, 99, HIGH)),
    ("no result at first", [], UNKNOWN, ("no_result", UPDATE, 0, 2, LOW)),
    ("error at first", [], ERROR, ("no_result", UPDATE, 0, 99, LOW)),
    ("no result after a pass", [FAIL, PASS], UNKNOWN, ("no_result", UPDATE, 0, 2, LOW)),
    ("error after no result", [UNKNOWN], ERROR, ("no_result", UPDATE, 0, 99, LOW)),
    ("planned", [FAIL], PLANNED, ("planned", UPDATE, 2, 3, HIGH)),
    ("planned without a result", [FAIL, UNKNOWN], unread(PLANNED), ("planned", UPDATE, 2, 2, HIGH)),
    ("planned no more", [PLANNED], FAIL, ("reopened", UPDATE, 1, 3, HIGH)),
    ("plan out of time", [PLANNED], EXPIRED, ("reopened", UPDATE, 1, 3, HIGH)),
    ("risk accepted", [FAIL], ACCEPTED, ("risk_accepted", UPDATE, 3, 3, HIGH)),
    ("risk accepted anew", [ACCEPTED], seen(disposition=Status.RISK_ACCEPTED, decision="longer"),
     ("risk_accepted", UPDATE, 3, 3, HIGH)),
    ("claimed", [FAIL], CLAIMED, ("claimed", CLOSE, 4, 3, HIGH)),
    ("claimed otherwise", [FAIL, CLAIMED], MITIGATED, ("claimed", CLOSE, 4, 3, HIGH)),
    ("claimed without a result", [FAIL, UNKNOWN], unread(CLAIMED), ("claimed", CLOSE, 4, 2, LOW)),
    ("no result under a claim", [FAIL, CLAIMED], unread(CLAIMED), ("evidence_changed", CLOSE, 4, 2, LOW)),
    ("other outcome under a claim", [FAIL, MITIGATED], seen(Verdict.PARTIAL, Status.RESOLVED_ALTERNATE_MITIGATION),
     ("evidence_changed", CLOSE, 4, 3, HIGH)),
    ("acceptance out of time", [ACCEPTED], EXPIRED, ("exception_expired", UPDATE, 1, 3, HIGH)),
    ("acceptance taken back", [ACCEPTED], FAIL, ("reopened", UPDATE, 1, 3, HIGH)),
    ("acceptance over without a result", [ACCEPTED, unread(ACCEPTED)], UNKNOWN, ("reopened", UPDATE, 1, 2, HIGH)),
    ("claim out of time", [FAIL, CLAIMED], EXPIRED, ("exception_expired", CREATE, 1, 3, HIGH)),
    ("claim against the evidence", [FAIL, MITIGATED], REOPENED, ("reopened", CREATE, 1, 3, HIGH)),
    ("claim over without a result", [FAIL, CLAIMED], seen(Verdict.UNKNOWN, ended=Ended.REOPENED),
     ("reopened", CREATE, 1, 2, HIGH)),
    ("claim becomes a plan", [FAIL, CLAIMED], PLANNED, ("planned", CREATE, 2, 3, HIGH)),
    ("not applicable", [FAIL], ABSENT, ("not_applicable", CLOSE, 5, 99, NONE)),
    ("not applicable at first", [], ABSENT, ("not_applicable", CLOSE, 5, 99, NONE)),
    ("other control, open", [FAIL], seen(definition="d2"), ("control_changed", UPDATE, 1, 3, HIGH)),
    ("other insights, open", [ACCEPTED], seen(disposition=Status.RISK_ACCEPTED, insights=Insights.OFF),
     ("insights_changed", UPDATE, 3, 3, HIGH)),
    ("control retired", [FAIL], Transition.CONTROL_RETIRED, ("control_retired", CLOSE, 5, 0, NONE)),
    ("disconnected", [FAIL, PASS], Transition.INSTANCE_DISCONNECTED, ("instance_disconnected", CLOSE, 5, 0, NONE)),
    ("erased", [UNKNOWN], Transition.TENANT_ERASED, ("tenant_erased", CLOSE, 6, 0, NONE)),
    ("erased after not applicable", [ABSENT], Transition.TENANT_ERASED, ("tenant_erased", CLOSE, 6, 0, NONE)),
]  # fmt: skip


@pytest.mark.parametrize(("before", "what", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_transitions(
    before: list[Seen | Transition], what: Seen | Transition, expected: tuple[str, Activity, int, int, int]
) -> None:
    story = Story(*before)
    known, heard = story.state, len(story.tellings)
    (told,) = story.then(what, after=HOUR)
    event, record = write(told, facts(told))
    severity, measured = event["severity_id"], event["compliance"]["status_id"]
    assert (told.transition.value, told.activity, event["status_id"], measured, severity) == expected
    assert (told.standing_before, told.sequence) == (known and known.standing, heard + 1)
    assert problems(event, record) == []
    assert broken_promises(event) == []


def test_a_pass_from_the_beginning_is_told_only_if_that_is_wanted() -> None:
    assert Story(PASS, PASS).tellings == []
    (told,) = Story(PASS, PASS, options=Options(baseline_pass=True)).tellings
    assert (told.transition, told.activity, told.status) == (Transition.BASELINE_PASS, CLOSE, StatusId.RESOLVED)
    assert problems(write(told, facts(told)).event) == []


QUIET: dict[str, list[Seen | Transition]] = {
    "the same": [FAIL, FAIL],
    "a decision on what passes": [FAIL, PASS, seen(Verdict.PASS, Status.RISK_ACCEPTED)],
    "a decision that ends on what passes": [FAIL, seen(Verdict.PASS, Status.RISK_ACCEPTED), PASS],
    "a decision on what has no result": [UNKNOWN, unread(CLAIMED)],
    "other evidence without a result": [FAIL, UNKNOWN, seen(Verdict.UNKNOWN, observed="o2")],
    "other evidence of what passes": [FAIL, PASS, seen(Verdict.PASS, observed="o2", exposed="")],
    "other evidence under a claim": [FAIL, CLAIMED, seen(disposition=Status.RESOLVED_THIRD_PARTY, observed="o2")],
    "other control, closed": [FAIL, PASS, seen(Verdict.PASS, definition="d2")],
    "other control, claimed": [FAIL, CLAIMED, seen(disposition=Status.RESOLVED_THIRD_PARTY, definition="d2")],
    "other insights, closed": [ABSENT, seen(Verdict.NOT_APPLICABLE, insights=Insights.OFF)],
    "an older result that stands in": [FAIL, seen(is_stale=True, snapshot_started_at=START + HOUR)],
    "retired twice": [FAIL, Transition.CONTROL_RETIRED, Transition.CONTROL_RETIRED],
    "retired when not applicable": [ABSENT, Transition.CONTROL_RETIRED],
    "disconnected when nobody heard of it": [PASS, Transition.INSTANCE_DISCONNECTED],
}


@pytest.mark.parametrize("steps", QUIET.values(), ids=QUIET)
def test_no_transition(steps: list[Seen | Transition]) -> None:
    story = Story(*steps[:-1])
    assert story.then(steps[-1], after=HOUR) == []


def test_changed_evidence_is_told_once_an_hour_and_then_as_it_is() -> None:
    story = Story(FAIL)
    assert [told.transition for told in story.then(seen(observed="o2"))] == [Transition.EVIDENCE_CHANGED]
    told_at = story.at
    assert evidence_due(story.last) is None
    assert story.then(seen(observed="o3")) == []
    assert evidence_due(story.last) == told_at + HOUR
    assert story.then(seen(observed="o4"), after=timedelta(minutes=58)) == []
    (told,) = story.then(seen(observed="o4"), after=timedelta(minutes=1))
    assert (told.transition, story.at) == (Transition.EVIDENCE_CHANGED, told_at + HOUR)
    assert evidence_due(story.last) is None


def test_evidence_that_went_back_meanwhile_is_not_told() -> None:
    story = Story(FAIL, seen(observed="o2"), seen(observed="o3"), seen(observed="o2"))
    assert evidence_due(story.last) is None
    assert story.then(seen(observed="o2"), after=HOUR) == []


def test_any_event_tells_what_was_held_back() -> None:
    story = Story(FAIL, seen(observed="o2"), seen(observed="o3"), seen(observed="o3", definition="d2"))
    assert story.tellings[-1].transition is Transition.CONTROL_CHANGED
    assert evidence_due(story.last) is None
    assert story.then(seen(observed="o3", definition="d2"), after=HOUR) == []


def test_what_passes_is_told_at_once_whatever_was_held_back() -> None:
    story = Story(FAIL, PARTIAL, FAIL)
    assert [told.transition for told in story.then(PASS)] == [Transition.PASSED]


def test_every_failure_opens_an_episode_and_begins_with_its_snapshot() -> None:
    later = seen(snapshot_started_at=START + HOUR)
    story = Story(FAIL, PARTIAL, PASS, later)
    assert [told.episode for told in story.tellings] == [1, 1, 1, 2]
    assert [told.first_seen_at for told in story.tellings] == [START, START, START, START + HOUR]
    assert {told.created_at for told in story.tellings} == {story.tellings[0].at}
    assert story.last.last_seen_at == START + HOUR


def test_a_snapshot_that_showed_nothing_is_not_when_it_was_last_seen() -> None:
    story = Story(FAIL, seen(is_stale=True, snapshot_started_at=START + HOUR))
    assert story.last.last_seen_at == START
    story.then(seen(snapshot_started_at=START + 2 * HOUR))
    assert story.last.last_seen_at == START + 2 * HOUR


def test_events_never_go_back_in_time() -> None:
    story = Story(FAIL)
    at = story.at
    (told,) = story.then(PASS, after=-HOUR)
    assert told.at == at


def test_the_uid_is_that_of_finding_cause_and_transition() -> None:
    _, (told,) = step(None, FAIL, cause_id="ev-1", at=START)
    assert told.event_uid == ids.finding_event_id(FINDING, "ev-1", "failed")
    assert told.event_uid == "35301554-a956-5b51-8d5f-2bf79455dd55"


def test_open_findings_have_a_heartbeat_every_30_days() -> None:
    story = Story(FAIL)
    due = heartbeat_due(story.last)
    assert due == story.at + MONTH
    assert heartbeat(story.last, due - timedelta(seconds=1)) == (story.last, [])
    state, (told,) = heartbeat(story.last, due)
    assert (told.transition, told.activity, told.status, told.at) == (Transition.HEARTBEAT, UPDATE, 1, due)
    assert told.event_uid == heartbeat(story.last, due + HOUR)[1][0].event_uid
    assert heartbeat_due(state) == due + MONTH
    assert problems(write(told, facts(told)).event) == []


@pytest.mark.parametrize("last", [PASS, ABSENT, CLAIMED, Transition.CONTROL_RETIRED], ids=str)
def test_closed_findings_have_no_heartbeat(last: Seen | Transition) -> None:
    story = Story(FAIL, last)
    assert heartbeat_due(story.last) is None
    assert heartbeat(story.last, START + 2 * MONTH) == (story.last, [])


def test_a_replay_tells_what_stands() -> None:
    story = Story(ACCEPTED)
    state, (told,) = replay(story.last, ACCEPTED, cause_id="asked", at=story.at)
    assert (told.transition, told.activity, told.status, told.sequence) == (Transition.REPLAYED, UPDATE, 3, 2)
    assert problems(write(told, facts(told)).event) == []
    assert replay(story.last, ACCEPTED, cause_id="asked", at=story.at)[1][0].event_uid == told.event_uid
    assert state.sequence == 2


def test_a_replay_tells_what_changed_instead_where_something_did() -> None:
    story = Story(FAIL)
    _, (told,) = replay(story.last, PASS, cause_id="asked", at=story.at)
    assert told.transition is Transition.PASSED


def test_a_replay_tells_what_was_held_back() -> None:
    story = Story(FAIL, PARTIAL, FAIL)
    state, (told,) = replay(story.last, FAIL, cause_id="asked", at=story.at)
    assert (told.transition, told.verdict, evidence_due(state)) == (Transition.REPLAYED, Verdict.FAIL, None)


def test_a_replay_tells_of_what_is_gone_and_not_of_what_nobody_heard_of() -> None:
    retired = Story(FAIL, Transition.CONTROL_RETIRED)
    _, (told,) = replay(retired.last, None, cause_id="asked", at=retired.at)
    assert (told.transition, told.activity, told.standing) == (Transition.REPLAYED, CLOSE, Standing.RETIRED)
    assert problems(write(told, facts(told)).event) == []
    silent = Story(PASS)
    assert replay(silent.last, PASS, cause_id="asked", at=silent.at)[1] == []


def test_only_an_end_ends_a_finding() -> None:
    with pytest.raises(ValueError, match="passed does not end a finding; expected one of control_retired"):
        gone(Story(FAIL).last, Transition.PASSED, cause_id="c", at=START)


def test_a_state_is_small_and_comes_back_as_it_was() -> None:
    story = Story(FAIL, MITIGATED, seen(Verdict.PARTIAL, Status.RESOLVED_ALTERNATE_MITIGATION, decision="a" * 12))
    stored = json.dumps(story.last.to_list())
    assert FindingState.from_list(FINDING, json.loads(stored)) == story.last
    assert FindingState.from_list(FINDING, Story(PASS).last.to_list()) == Story(PASS).last
    assert len(stored) < 250


@pytest.mark.parametrize("values", [[], [1, 2], [2, *Story(FAIL).last.to_list()[1:]], [*Story(FAIL).last.to_list(), 1]])
def test_a_state_that_cannot_be_read_says_which(values: list[str | int | None]) -> None:
    with pytest.raises(ValueError, match=r"The state of the finding contoso\|sales-eu\|SF-ID-05 cannot be read: "):
        FindingState.from_list(FINDING, values)


MOMENT = datetime.fromisoformat("2026-11-24T08:59:00+00:00")


def _look(shown: InstancePicture) -> Seen:
    return seen_of(shown.items[0], shown, tenant=TENANT, insights=Insights.ON, snapshot_started_at=MOMENT)


def test_a_picture_shows_what_is_needed() -> None:
    found = _look(picture([control(CONTROL, observed="10", exposed=3, exposed_digest="ab")], instance=INSTANCE))
    assert (found.finding, found.verdict, found.insights) == (FINDING, Verdict.FAIL, Insights.ON)
    assert (found.snapshot_started_at, found.evaluation, found.disposition) == (MOMENT, "e", None)
    other = _look(picture([control(CONTROL, observed="11", exposed=3, exposed_digest="ac")], instance=INSTANCE))
    assert (other.observed != found.observed, other.exposed != found.exposed) == (True, True)
    assert _look(picture([control(CONTROL)], instance=INSTANCE)).observed == ""


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [
        (UnknownReason.COLLECTION_ERROR, Verdict.ERROR),
        (UnknownReason.EXPRESSION_ERROR, Verdict.ERROR),
        (UnknownReason.MISSING_PERMISSION, Verdict.UNKNOWN),
        (UnknownReason.TRUNCATED, Verdict.UNKNOWN),
    ],
)
def test_what_broke_is_an_error(reason: UnknownReason, verdict: Verdict) -> None:
    assert _look(picture([control(CONTROL, Outcome.UNKNOWN, reason=reason)])).verdict is verdict


def test_decisions_in_force_and_how_they_ended() -> None:
    accepted = decision(CONTROL, Status.RISK_ACCEPTED)
    in_force = _look(picture([control(CONTROL)], accepted))
    assert (in_force.disposition, in_force.ended) == (Status.RISK_ACCEPTED, None)
    other = _look(picture([control(CONTROL)], decision(CONTROL, Status.RISK_ACCEPTED, revision=2)))
    assert "" != other.decision != in_force.decision
    expired = _look(picture([control(CONTROL)], accepted.model_copy(update={"ended": Ended.EXPIRED})))
    assert (expired.disposition, expired.decision, expired.ended) == (None, "", Ended.EXPIRED)
    reopened = _look(picture([control(CONTROL)], accepted, reopened={CONTROL: accepted.decision_id}))
    assert (reopened.disposition, reopened.ended) == (None, Ended.REOPENED)
    back = _look(picture([control(CONTROL)], decision(CONTROL, Status.TO_ADDRESS)))
    assert (back.disposition, back.decision) == (None, "")
    withdrawn = _look(picture([control(CONTROL)], decision(CONTROL, None)))
    assert (withdrawn.disposition, withdrawn.ended) == (None, None)


def test_a_result_that_stands_in_is_stale() -> None:
    assert _look(picture([control(CONTROL, stale_since=START)])).is_stale
    assert not _look(picture([control(CONTROL)])).is_stale


def test_what_a_definition_tells_makes_its_digest() -> None:
    def digest(**more: object) -> str:
        return _look(picture([control(CONTROL)], definitions=[definition(CONTROL, **more)])).definition

    plain = digest()
    assert digest(version=2, catalogue_generation=9) == plain
    assert len({plain, digest(severity="low"), digest(title="Other"), digest(frameworks={"soc2": ["CC6.1"]})}) == 4
