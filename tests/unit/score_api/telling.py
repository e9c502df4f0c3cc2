"""Findings as SIEMs hear of them, for tests of pure rules."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
from plumbline_contracts.events import (
    ControlResult,
    DatasetState,
    Evidence,
    ExposedEntity,
    Insights,
    Outcome,
    Product,
    UnknownReason,
)
from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.findings.lifecycle import FindingState, Options, Seen, Telling, Transition, gone, step
from plumbline_score_api.findings.ocsf import Facts, InstanceFacts
from plumbline_score_api.findings.state import Verdict

from tests.unit.score_api.painting import decision, definition

START = datetime(2026, 11, 24, 9, tzinfo=UTC)
TENANT, INSTANCE, CONTROL = "contoso", "sales-eu", "SF-ID-05"
FINDING = f"{TENANT}|{INSTANCE}|{CONTROL}"
OUTCOMES = {
    Verdict.ERROR: (Outcome.UNKNOWN, UnknownReason.COLLECTION_ERROR),
    Verdict.UNKNOWN: (Outcome.UNKNOWN, UnknownReason.MISSING_PERMISSION),
}


def seen(verdict: Verdict = Verdict.FAIL, disposition: Status | None = None, **more: Any) -> Seen:
    """What stands now; a disposition has a decision of its name."""
    fields: dict[str, Any] = {
        "finding": FINDING,
        "verdict": verdict,
        "observed": "o1",
        "exposed": "e1",
        "definition": "d1",
        "insights": Insights.MAIN,
        "evaluation": "ev",
        "snapshot_started_at": START,
        "disposition": disposition,
        "decision": f"by {disposition}" if disposition is not None else "",
    }
    return Seen(**fields | more)


class Story:
    """One finding, a step per minute unless said otherwise."""

    def __init__(self, *steps: Seen | Transition, options: Options | None = None) -> None:
        self.state: FindingState | None = None
        self.at = START
        self.tellings: list[Telling] = []
        self._options = options or Options()
        for each in steps:
            self.then(each)

    @property
    def last(self) -> FindingState:
        assert self.state is not None
        return self.state

    def then(self, what: Seen | Transition, after: timedelta = timedelta(minutes=1)) -> list[Telling]:
        """One step, of something seen or of an end; what it tells."""
        self.at += after
        cause = f"cause-{len(self.tellings)}-{self.at:%d%H%M%S}"
        if isinstance(what, Seen):
            self.state, told = step(self.state, what, cause_id=cause, at=self.at, options=self._options)
        else:
            self.state, told = gone(self.last, what, cause_id=cause, at=self.at)
        self.tellings += told
        return told


def result(verdict: Verdict = Verdict.FAIL, **more: Any) -> ControlResult:
    """A result of four points that gives this verdict."""
    outcome, reason = OUTCOMES.get(verdict, (None, None))
    outcome = outcome or Outcome(verdict.value)
    share = {Outcome.PASS: 1.0, Outcome.PARTIAL: 0.5}.get(outcome, 0.0)
    fields: dict[str, Any] = {
        "control_id": CONTROL,
        "control_digest": "d",
        "outcome": outcome,
        "reason": reason,
        "explanation": "3 of 8 policies allow more than 3 wrong passwords.",
        "share": share,
        "points": 4 * share,
        "max_points": 4,
        "compliant": 5,
        "total": 8,
        "exposed": 3,
        "exposed_listed": 3,
        "exposed_digest": "ab" * 32,
        "expected": "a lock after three attempts",
        "observed": "10",
        "evidence": [Evidence(dataset="password_policies", source="SecuritySettings.x", state=DatasetState.OK)],
    }
    return ControlResult(**fields | more)


@cache
def _promise() -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(json.loads(Path("contracts/generated/schemas/finding.v1.json").read_text()))


def broken_promises(event: dict[str, Any]) -> list[str]:
    """Where an event is not what the contract with its receivers says."""
    return [f"{error.instance_path}: {error.message}" for error in _promise().iter_errors(event)]


def entities(count: int = 3) -> list[ExposedEntity]:
    """Users that are exposed."""
    return [
        ExposedEntity(id=f"005{n:015d}", name=f"user{n}@contoso.example", type="salesforce/user") for n in range(count)
    ]


def facts(telling: Telling, **more: Any) -> Facts:
    """What goes with a telling: a result that has its verdict, a decision where one is in force."""
    is_gone = telling.verdict is Verdict.NOT_EVALUATED
    status = STATUSES.get(telling.standing.value)
    fields: dict[str, Any] = {
        "tenant": TENANT,
        "instance": InstanceFacts(
            INSTANCE, Product.SALESFORCE, "https://contoso.my.salesforce.com", "00D1", Insights.MAIN
        ),
        "definition": definition(CONTROL),
        "result": None if is_gone else result(telling.verdict),
        "product_version": "0.1.0",
        "evaluation_id": "7d0f7a34-5a0e-5a55-9d0b-0c1b2a3f4e5d",
        "snapshot_id": "0b5f0c1e-7c7e-5d0a-9a57-8a3c8f0d7d55",
        "entities": [] if is_gone else entities(),
        "decision": decision(CONTROL, status) if status is not None else None,
        "api_url": "https://plumbline.contoso.example",
    }
    return Facts(**fields | more)


STATUSES = {
    "PLANNED": Status.PLANNED,
    "RISK_ACCEPTED": Status.RISK_ACCEPTED,
    "THIRD_PARTY": Status.RESOLVED_THIRD_PARTY,
    "ALTERNATE_MITIGATION": Status.RESOLVED_ALTERNATE_MITIGATION,
}
