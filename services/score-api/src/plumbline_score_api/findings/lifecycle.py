"""When a finding is told to SIEMs, and as what. Pure: no clock, no I/O.

A state is what was told last. A step compares it with what stands now and tells the difference, in at most one event,
so a step that is made again tells nothing. What people decide never changes what was measured, only whether a finding
is open: a claim closes it while it fails, and opens it again when it ends.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from plumbline_contracts import ids
from plumbline_contracts.events import Insights
from plumbline_contracts.finding import Transition

from plumbline_score_api.decisions.decision import Ended
from plumbline_score_api.findings.definitions import text_of
from plumbline_score_api.findings.state import (
    CLAIMED,
    DECIDED,
    FAILING,
    OPEN,
    STATUS_IDS,
    UNDECIDED,
    UNSETTLED,
    Activity,
    FindingState,
    Seen,
    Standing,
    Telling,
    Verdict,
    activity_of,
    short_digest,
    verdict_of,
)
from plumbline_score_api.pictures.picture import InstancePicture, Recommendation

__all__ = [
    "FindingState",
    "Options",
    "Seen",
    "Telling",
    "Transition",
    "evidence_due",
    "gone",
    "heartbeat",
    "heartbeat_due",
    "is_told",
    "replay",
    "seen_of",
    "step",
]

EVIDENCE_EVERY = timedelta(hours=1)
"""How often changed evidence of one finding is told at most."""
HEARTBEAT_AFTER = timedelta(days=30)
"""Receivers forget open findings that they do not hear of; AWS Security Hub does after 90 days."""
_GONE = {
    Transition.CONTROL_RETIRED: Standing.RETIRED,
    Transition.INSTANCE_DISCONNECTED: Standing.DISCONNECTED,
    Transition.TENANT_ERASED: Standing.ERASED,
}
_DECISIONS = {
    Standing.PLANNED: Transition.PLANNED,
    Standing.RISK_ACCEPTED: Transition.RISK_ACCEPTED,
    Standing.THIRD_PARTY: Transition.CLAIMED,
    Standing.ALTERNATE_MITIGATION: Transition.CLAIMED,
}
Step = tuple[FindingState, list[Telling]]
"""The state after, and what is to be told, in order."""


@dataclass(frozen=True)
class Options:
    """What an operator chose. `baseline_pass`: also tell of findings that passed from the beginning."""

    baseline_pass: bool = False


_DEFAULTS = Options()


def seen_of(
    item: Recommendation, picture: InstancePicture, *, tenant: str, insights: Insights, snapshot_started_at: datetime
) -> Seen:
    """What a picture shows of one control. The picture lacks what is given besides: `snapshot_started_at` is when the
    newest snapshot of the instance that was judged began.
    """
    control, decision = item.control, item.decision
    is_reopened = decision is not None and decision.decision_id == item.reopened
    in_force = decision if decision is not None and decision.holds and not is_reopened else None
    disposition = in_force.status if in_force is not None and in_force.status in DECIDED else None
    return Seen(
        finding=ids.finding_uid(tenant, picture.instance, control.control_id),
        verdict=verdict_of(control.outcome, control.reason),
        observed=short_digest(control.observed) if control.observed is not None else "",
        exposed=short_digest(f"{control.exposed} {control.exposed_digest}") if control.exposed else "",
        definition=text_of(item.definition).digest,
        insights=insights,
        evaluation=picture.version.evaluation or "",
        snapshot_started_at=snapshot_started_at,
        disposition=disposition,
        decision=short_digest(in_force.decision_id) if in_force is not None and disposition is not None else "",
        ended=Ended.REOPENED if is_reopened else decision.ended if decision is not None else None,
        is_stale=item.stale_since is not None,
    )


def step(state: FindingState | None, seen: Seen, *, cause_id: str, at: datetime, options: Options = _DEFAULTS) -> Step:
    """What a result, a decision or a catalogue tells. Made again with the same input, it tells nothing.

    `cause_id` names what brought it (the evaluation, the decision, the end of one): another id for every change, as
    the event's uid is made of it. `at` is its moment; events of a finding are never older than the one before. Changed
    evidence is told at most once an hour; what is held back is told by the first step at or after `evidence_due`.
    """
    target = _target(state, seen)
    transition = _turn(state, seen, target)
    if transition is Transition.BASELINE_PASS and not options.baseline_pass:
        return _as_seen(state, seen, target), []
    is_evidence = False
    if transition is None:
        assert state is not None
        difference = _difference(state, seen)
        is_evidence = difference is not None and _may_tell_evidence(state, at)
        transition = difference if is_evidence else _told_besides(state, seen)
        if transition is None:
            is_held_back = difference is not None
            return replace(state, last_seen_at=_last_seen(state, seen), is_held_back=is_held_back), []
    return _tell(state, _as_seen(state, seen, target), transition, cause_id, at, is_evidence=is_evidence)


def is_told(state: FindingState, seen: Seen, options: Options = _DEFAULTS) -> bool:
    """Whether a step would change nothing but when the finding was last seen."""
    return (
        seen.verdict is state.verdict
        and (seen.observed, seen.exposed) == (state.observed, state.exposed)
        and (seen.definition, seen.decision) == (state.definition, state.decision)
        and seen.insights is state.insights
        and not state.is_held_back
        and _target(state, seen) is state.standing
        and (bool(state.sequence) or not options.baseline_pass)
    )


def gone(state: FindingState, transition: Transition, *, cause_id: str, at: datetime) -> Step:
    """The control was retired, the instance disconnected or the tenant erased; told once, of what was ever told.

    Raises ValueError for any other transition.
    """
    if transition not in _GONE:
        raise ValueError(f"{transition} does not end a finding; expected one of {', '.join(_GONE)}")
    target = _GONE[transition]
    after = replace(state, standing=target, verdict=Verdict.NOT_EVALUATED, is_held_back=False)
    if not state.sequence or STATUS_IDS[state.standing] is STATUS_IDS[target]:
        return after, []
    return _tell(state, after, transition, cause_id, at)


def heartbeat_due(state: FindingState) -> datetime | None:
    """When an open finding must be told again; None for those that are not open."""
    if state.standing not in OPEN or state.modified_at is None:
        return None
    return state.modified_at + HEARTBEAT_AFTER


def heartbeat(state: FindingState, at: datetime) -> Step:
    """Tell of an open finding again when that is due. Its cause is the moment at which it became due."""
    due = heartbeat_due(state)
    if due is None or at < due:
        return state, []
    return _tell(state, state, Transition.HEARTBEAT, f"heartbeat.{due.isoformat(timespec='milliseconds')}", at)


def evidence_due(state: FindingState) -> datetime | None:
    """When evidence that was held back is to be told by a step; None when none was."""
    if not state.is_held_back or state.evidence_told_at is None:
        return None
    return state.evidence_told_at + EVIDENCE_EVERY


def replay(
    state: FindingState, seen: Seen | None, *, cause_id: str, at: datetime, options: Options = _DEFAULTS
) -> Step:
    """Tell what stands, on request; `seen` is None for what is gone. What nobody ever heard of stays untold."""
    after = state
    if seen is not None:
        after, tellings = step(state, seen, cause_id=cause_id, at=at, options=options)
        if tellings:
            return after, tellings
        after = _as_seen(after, seen, after.standing)
    return _tell(state, after, Transition.REPLAYED, cause_id, at) if state.sequence else (after, [])


def _target(state: FindingState | None, seen: Seen) -> Standing:
    """Where the finding stands now. Without a result it stays as open as it was, and as claimed."""
    if seen.verdict is Verdict.PASS:
        return Standing.COMPLETED
    if seen.verdict is Verdict.NOT_APPLICABLE:
        return Standing.NOT_APPLICABLE
    if seen.verdict in FAILING or (state is not None and state.standing in UNSETTLED):
        return DECIDED[seen.disposition]
    return Standing.NO_RESULT


def _turn(state: FindingState | None, seen: Seen, target: Standing) -> Transition | None:
    """What happened, if the finding stands elsewhere than before, or by another decision."""
    before = state.standing if state is not None else None
    if target is Standing.COMPLETED and (state is None or not state.sequence):
        return Transition.BASELINE_PASS
    if target not in UNSETTLED:
        return None if before is target else _SETTLED[target]
    if state is None or before not in UNSETTLED:
        return _broken_out(before, target)
    if before is not target or (target is not Standing.TO_ADDRESS and seen.decision != state.decision):
        return _decided(state, seen, target)
    is_lost = target in OPEN and seen.verdict in UNDECIDED and state.verdict not in UNDECIDED
    return Transition.NO_RESULT if is_lost else None


_SETTLED = {
    Standing.COMPLETED: Transition.PASSED,
    Standing.NOT_APPLICABLE: Transition.NOT_APPLICABLE,
    Standing.NO_RESULT: Transition.NO_RESULT,
}


def _broken_out(before: Standing | None, target: Standing) -> Transition:
    """It fails, and did not before."""
    if target in CLAIMED:
        return Transition.CLAIMED
    return Transition.REGRESSED if before is Standing.COMPLETED else Transition.FAILED


def _decided(state: FindingState, seen: Seen, target: Standing) -> Transition:
    """A decision was made or ended. One that only planned something is no exception that could expire."""
    if target is not Standing.TO_ADDRESS:
        return _DECISIONS[target]
    is_exception_over = seen.ended is Ended.EXPIRED and state.standing is not Standing.PLANNED
    return Transition.EXCEPTION_EXPIRED if is_exception_over else Transition.REOPENED


def _difference(state: FindingState, seen: Seen) -> Transition | None:
    """What the evidence changes in a finding that stands where it stood."""
    if seen.verdict is not state.verdict:
        is_undecided = seen.verdict in UNDECIDED and state.standing not in CLAIMED
        return Transition.NO_RESULT if is_undecided else Transition.EVIDENCE_CHANGED
    is_failing = seen.verdict in FAILING and state.standing in OPEN
    if is_failing and (seen.observed, seen.exposed) != (state.observed, state.exposed):
        return Transition.EVIDENCE_CHANGED
    return None


def _may_tell_evidence(state: FindingState, at: datetime) -> bool:
    return state.evidence_told_at is None or at >= state.evidence_told_at + EVIDENCE_EVERY


def _told_besides(state: FindingState, seen: Seen) -> Transition | None:
    """What changed around an open finding."""
    if state.standing not in OPEN:
        return None
    if seen.definition != state.definition:
        return Transition.CONTROL_CHANGED
    return Transition.INSIGHTS_CHANGED if seen.insights is not state.insights else None


def _as_seen(state: FindingState | None, seen: Seen, target: Standing) -> FindingState:
    """The state as if what stands now had been told, without the event."""
    last = _last_seen(state, seen)
    return FindingState(
        finding=seen.finding,
        standing=target,
        verdict=seen.verdict,
        episode=state.episode if state is not None else 0,
        sequence=state.sequence if state is not None else 0,
        first_seen_at=state.first_seen_at if state is not None else last,
        last_seen_at=last,
        created_at=state.created_at if state is not None else None,
        modified_at=state.modified_at if state is not None else None,
        evidence_told_at=state.evidence_told_at if state is not None else None,
        is_held_back=False,
        decision=seen.decision,
        observed=seen.observed,
        exposed=seen.exposed,
        definition=seen.definition,
        insights=seen.insights,
    )


def _last_seen(state: FindingState | None, seen: Seen) -> datetime:
    """The newest snapshot that showed the finding."""
    moment = _whole(seen.snapshot_started_at)
    if state is None:
        return moment
    return state.last_seen_at if seen.is_stale else max(moment, state.last_seen_at)


def _tell(
    before: FindingState | None,
    after: FindingState,
    transition: Transition,
    cause_id: str,
    at: datetime,
    *,
    is_evidence: bool = False,
) -> Step:
    """The state after one event, and the event. `is_evidence` says that it is one of those told once an hour."""
    moment = _whole(at)
    if after.modified_at is not None:
        moment = max(moment, after.modified_at)
    activity = activity_of(before.standing if before is not None else None, after.standing)
    is_new = activity is Activity.CREATE
    told = replace(
        after,
        episode=after.episode + is_new,
        sequence=after.sequence + 1,
        first_seen_at=after.last_seen_at if is_new else after.first_seen_at,
        created_at=after.created_at or moment,
        modified_at=moment,
        evidence_told_at=moment if is_evidence else after.evidence_told_at,
    )
    return told, [_telling(before, told, transition, activity, cause_id)]


def _telling(
    before: FindingState | None, told: FindingState, transition: Transition, activity: Activity, cause_id: str
) -> Telling:
    assert told.modified_at is not None
    assert told.created_at is not None
    return Telling(
        finding=told.finding,
        event_uid=ids.finding_event_id(told.finding, cause_id, transition),
        transition=transition,
        activity=activity,
        standing_before=before.standing if before is not None else None,
        standing=told.standing,
        verdict_before=before.verdict if before is not None else None,
        verdict=told.verdict,
        episode=told.episode,
        sequence=told.sequence,
        cause_id=cause_id,
        at=told.modified_at,
        created_at=told.created_at,
        first_seen_at=told.first_seen_at,
        last_seen_at=told.last_seen_at,
    )


def _whole(moment: datetime) -> datetime:
    """In UTC and in whole milliseconds, as it is stored."""
    found = moment.astimezone(UTC)
    return found.replace(microsecond=found.microsecond // 1000 * 1000)
