"""What was told of all findings of one instance, and what waits to be told. Pure: no clock, no I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from plumbline_contracts import ids
from plumbline_contracts.events import Insights
from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from plumbline_score_api.findings.lifecycle import (
    Options,
    evidence_due,
    gone,
    heartbeat,
    heartbeat_due,
    is_told,
    replay,
    seen_of,
    step,
)
from plumbline_score_api.findings.state import FindingState, Seen, Telling, Transition
from plumbline_score_api.pictures.picture import InstancePicture, Recommendation

TELLINGS = TypeAdapter(tuple[Telling, ...])


@dataclass(frozen=True)
class Told:
    """`states` and `digests` (those of the definitions) are by control id. `waiting` is not sent everywhere yet.

    `evaluation` is the one that was looked at last, `replay` the last request to tell everything again that was done.
    """

    states: Mapping[str, FindingState] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    insights: Insights | None = None
    evaluation: str | None = None
    replay: str | None = None
    waiting: tuple[Telling, ...] = ()

    def due(self) -> datetime | None:
        """When time alone has something to tell; None when it never has."""
        moments = [each(state) for state in self.states.values() for each in (heartbeat_due, evidence_due)]
        return min((moment for moment in moments if moment is not None), default=None)

    def dump(self) -> str:
        """As it is stored, as JSON; what waits is not in it."""
        states = {name: [self.digests.get(name), *state.to_list()] for name, state in self.states.items()}
        place = [self.insights, self.evaluation, self.replay]
        return to_json({"place": place, "states": states}).decode()


def read(tenant: str, instance: str, stored: str, waiting: str | None) -> Told:
    """From `dump`, with what waits. Raises ValueError for anything else."""
    found = from_json(stored)
    insights, evaluation, last_replay = found["place"]
    return Told(
        states={
            name: FindingState.from_list(ids.finding_uid(tenant, instance, name), values)
            for name, (_, *values) in found["states"].items()
        },
        digests={name: values[0] for name, values in found["states"].items() if values[0]},
        insights=Insights(insights) if insights else None,
        evaluation=evaluation,
        replay=last_replay,
        waiting=TELLINGS.validate_json(waiting) if waiting else (),
    )


class Cause(NamedTuple):
    """What brought it, by a name that no other cause of the same finding has, and when."""

    name: str
    at: datetime


@dataclass(frozen=True)
class Look:
    """An instance as it stands, and the moment of looking. `revision` is a number that no other look has."""

    tenant: str
    picture: InstancePicture
    insights: Insights
    revision: int
    now: datetime
    options: Options = field(default_factory=Options)

    @cached_property
    def started_at(self) -> datetime:
        """When the newest snapshot that was judged began."""
        return max((item.control.evaluated_at for item in self.picture.items), default=self.now)

    def seen(self, item: Recommendation, started_at: datetime) -> Seen:
        """What stands for a control."""
        insights, tenant = self.insights, self.tenant
        return seen_of(item, self.picture, tenant=tenant, insights=insights, snapshot_started_at=started_at)

    def cause(self, item: Recommendation, seen: Seen, state: FindingState | None) -> Cause:
        """What makes a control stand as it does now: a decision, a choice of insights, else the evaluation or time."""
        if state is not None and seen.decision != state.decision:
            return self._of_decision(item, seen)
        version = self.picture.version
        if state is not None and version.evaluation == self._evaluation_of(state) and seen.insights != state.insights:
            return Cause(f"insights.{self.revision}", self.now)
        if version.clock is not None and version.clock > (self.picture.evaluated_at or version.clock):
            return Cause(f"{version.evaluation}.{version.clock.isoformat()}", min(version.clock, self.now))
        return Cause(str(version.evaluation), min(self.picture.evaluated_at or self.now, self.now))

    def _of_decision(self, item: Recommendation, seen: Seen) -> Cause:
        decision = item.decision
        if decision is None:
            return Cause(f"withdrawn.{self.revision}", self.now)
        if seen.decision:
            return Cause(decision.decision_id, min(decision.decided_at, self.now))
        at = decision.ended_at or (self.picture.evaluated_at if seen.ended else None) or self.now
        return Cause(f"{decision.decision_id}.{seen.ended or 'ended'}", min(at, self.now))

    def _evaluation_of(self, state: FindingState) -> str | None:
        """The evaluation, if the state has seen its snapshot: what differs then is no news of it."""
        return self.picture.version.evaluation if state.last_seen_at >= _milli(self.started_at) else None


def _milli(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def looked(told: Told, look: Look) -> Told:
    """With what is to be told of what stands now; itself when that is known. Nothing must be waiting."""
    if look.picture.version.evaluation is None:
        return told
    states, digests = dict(told.states), dict(told.digests)
    tellings: list[Telling] = []
    started_at, is_new = look.started_at, False
    for item in look.picture.items:
        name, state = item.control.control_id, told.states.get(item.control.control_id)
        seen = look.seen(item, started_at)
        if state is not None and is_told(state, seen, look.options):
            continue
        cause = look.cause(item, seen, state)
        after, events = step(state, seen, cause_id=cause.name, at=cause.at, options=look.options)
        if state is None or events or replace(after, last_seen_at=state.last_seen_at) != state:
            states[name], digests[name], is_new = after, item.control.digest, True
            tellings += events
    retired = told.states.keys() - {item.control.control_id for item in look.picture.items}
    end = Cause(str(look.picture.version.evaluation), min(look.picture.evaluated_at or look.now, look.now))
    for name, after, events in _ended(told, retired, Transition.CONTROL_RETIRED, end):
        states[name], is_new = after, True
        tellings += events
    if not is_new and told.insights is look.insights:
        return told
    evaluation = look.picture.version.evaluation
    return replace(
        told, states=states, digests=digests, insights=look.insights, evaluation=evaluation, waiting=tuple(tellings)
    )


def reminded(told: Told, look: Look) -> Told:
    """With what time alone has to tell: evidence that was held back, and findings that are still open."""
    found = looked(told, look)
    states, tellings = dict(found.states), list(found.waiting)
    told_now = {each.finding for each in tellings}
    for name, state in found.states.items():
        if state.finding in told_now:
            continue
        held_back = evidence_due(state)
        if held_back is not None and held_back <= look.now and (item := look.picture.of_control(name)) is not None:
            seen = look.seen(item, look.started_at)
            cause = f"{look.picture.version.evaluation}.{held_back.isoformat()}"
            after, events = step(state, seen, cause_id=cause, at=look.now, options=look.options)
        else:
            after, events = heartbeat(state, look.now)
        states[name] = after
        tellings += events
    if states == found.states:
        return found
    return replace(found, states=states, evaluation=look.picture.version.evaluation, waiting=tuple(tellings))


def left(told: Told, cause: Cause) -> Told:
    """With the end of all findings: the instance was disconnected. Itself when they have ended."""
    states, tellings = dict(told.states), list[Telling]()
    for name, after, events in _ended(told, told.states, Transition.INSTANCE_DISCONNECTED, cause):
        states[name] = after
        tellings += events
    if states == told.states:
        return told
    return replace(told, states=states, insights=None, evaluation=None, waiting=tuple(tellings))


def again(told: Told, look: Look, request: str, since: datetime | None) -> Told:
    """With all findings whose last event is not older than `since`, told again as they stand."""
    found = looked(told, look)
    states, tellings, started_at = dict(found.states), list(found.waiting), look.started_at
    told_now = {each.finding for each in tellings}
    for name, state in found.states.items():
        is_old = since is not None and (state.modified_at is None or state.modified_at < since)
        if is_old or state.finding in told_now:
            continue
        item = look.picture.of_control(name)
        seen = look.seen(item, started_at) if item is not None else None
        after, events = replay(state, seen, cause_id=request, at=look.now, options=look.options)
        states[name] = after
        tellings += events
    evaluation = look.picture.version.evaluation
    return replace(found, states=states, evaluation=evaluation, replay=request, waiting=tuple(tellings))


def _ended(
    told: Told, names: Iterable[str], transition: Transition, cause: Cause
) -> Iterable[tuple[str, FindingState, list[Telling]]]:
    """Those that end, and what that tells."""
    for name in sorted(names):
        state = told.states[name]
        after, events = gone(state, transition, cause_id=cause.name, at=cause.at)
        if after != state:
            yield name, after, events
