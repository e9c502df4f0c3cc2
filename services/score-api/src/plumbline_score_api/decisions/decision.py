"""What a decision is, when it holds, and when evidence contradicts it. Pure."""

from collections.abc import Mapping, Set
from datetime import datetime
from enum import StrEnum

from plumbline_contracts.events import Outcome
from pydantic import BaseModel, ConfigDict


class Status(StrEnum):
    """What people decided, or `completed`, which the system alone sets."""

    TO_ADDRESS = "to_address"
    PLANNED = "planned"
    RISK_ACCEPTED = "risk_accepted"
    RESOLVED_THIRD_PARTY = "resolved_third_party"
    RESOLVED_ALTERNATE_MITIGATION = "resolved_alternate_mitigation"
    COMPLETED = "completed"


class Ended(StrEnum):
    """Why a decision does not hold any more, though nobody took it back."""

    REOPENED = "reopened"
    EXPIRED = "expired"


RESOLVED = frozenset({Status.RESOLVED_THIRD_PARTY, Status.RESOLVED_ALTERNATE_MITIGATION})
"""The statuses that stand on evidence, and are reopened when it changes."""


class Seen(BaseModel):
    """The evidence of one control in one evaluation, as far as a decision stands on it."""

    model_config = ConfigDict(frozen=True)

    evaluation: str
    outcome: Outcome
    observed: str | None
    exposed: int
    exposed_listed: int
    exposed_digest: str | None

    @property
    def is_cut(self) -> bool:
        """Whether more entities are exposed than are listed."""
        return self.exposed > self.exposed_listed


class Decision(BaseModel):
    """What was decided about one control: on one instance, or as a template on all.

    `status` is None once it was taken back; the revision goes on. `template` names the template that an instance's
    decision was made from, with the evidence of that moment; a person's own decision has none.
    """

    model_config = ConfigDict(frozen=True)

    decision_id: str
    control_id: str
    revision: int
    status: Status | None
    author: str
    note: str | None = None
    assignee: str | None = None
    reason: str | None = None
    decided_at: datetime
    expires_at: datetime | None = None
    template: str | None = None
    evidence: Seen | None = None
    ended: Ended | None = None
    ended_at: datetime | None = None
    ended_detail: str | None = None

    @property
    def is_own(self) -> bool:
        """Whether a person decided for this very instance, and did not take it back."""
        return self.status is not None and self.template is None

    @property
    def holds(self) -> bool:
        """Whether it is neither taken back, nor reopened, nor expired."""
        return self.status is not None and self.ended is None

    def says(self, other: "Decision") -> bool:
        """Whether it holds and says what another one says."""
        return self.holds and all(
            getattr(self, name) == getattr(other, name)
            for name in ("status", "note", "assignee", "reason", "expires_at")
        )


def speaking(own: Decision | None, template: Decision | None) -> Decision | None:
    """The decision that speaks for a control on an instance, ended or not.

    An instance's own decision wins over the template. The instance's copy of the template, which has the instance's
    evidence, speaks for the template it was made from; until there is a copy the template itself does.
    """
    if own is not None and own.is_own:
        return own
    if template is None or template.status is None:
        return None
    return own if own is not None and own.template == template.decision_id else template


def shown(outcome: Outcome, decision: Decision | None, reopened: str | None = None) -> Status:
    """The status that people see; `reopened` is the decision that the evaluation they see contradicts."""
    if outcome is Outcome.PASS:
        return Status.COMPLETED
    if decision is None or not decision.holds or decision.status is None or decision.decision_id == reopened:
        return Status.TO_ADDRESS
    return decision.status


def stands_on_evidence(decision: Decision, evaluation: str) -> bool:
    """Whether it must be compared with the evidence of `evaluation`."""
    evidence = decision.evidence
    return decision.holds and decision.status in RESOLVED and evidence is not None and evidence.evaluation != evaluation


def contradiction(then: Seen, now: Seen, known: Set[str], exposed: Set[str]) -> str | None:
    """Why the evidence of now reopens what was resolved then; None when it does not.

    `known` and `exposed` are the listed entities of then and now. Where a list is cut, nobody can say that an entity
    was known, so any difference reopens.
    """
    if now.outcome is not then.outcome:
        return f"The outcome was {then.outcome} and is {now.outcome}."
    if now.observed != then.observed:
        return "What was observed has changed."
    new = len(exposed - known)
    if then.is_cut or now.is_cut:
        is_same = not new and (now.exposed, now.exposed_digest) == (then.exposed, then.exposed_digest)
        return None if is_same else f"{then.exposed} entities were exposed and {now.exposed} are, not all the same."
    return f"{new} of the exposed entities were not exposed when this was decided." if new else None


def next_expiry(decisions: Mapping[str, Decision]) -> datetime | None:
    """When the first of those that hold expires."""
    return min((d.expires_at for d in decisions.values() if d.holds and d.expires_at is not None), default=None)


def expired(decision: Decision, now: datetime) -> Decision:
    """The decision after `now`: ended when its time has come."""
    if not decision.holds or decision.expires_at is None or decision.expires_at > now:
        return decision
    return end(decision, Ended.EXPIRED, now, "Its time was over.")


def end(decision: Decision, why: Ended, at: datetime, detail: str) -> Decision:
    """The decision, ended."""
    change = {"ended": why, "ended_at": at, "ended_detail": detail, "revision": decision.revision + 1}
    return decision.model_copy(update=change)
