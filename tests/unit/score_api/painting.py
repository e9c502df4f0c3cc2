"""Pictures for tests of pure rules."""

from datetime import UTC, datetime, timedelta
from typing import Any

from plumbline_contracts.events import ControlDefinition, Effort, Outcome, Product, Remediation, Severity
from plumbline_score_api.decisions.decision import Decision, Status
from plumbline_score_api.pictures.picture import Control, InstancePicture, Version, paint
from plumbline_score_api.pictures.tenant import TenantPicture

START = datetime(2026, 11, 24, tzinfo=UTC)


def control(
    name: str, outcome: Outcome = Outcome.FAIL, *, share: float = 0.0, most: float = 4.0, **more: Any
) -> Control:
    """A control worth four points."""
    full = {Outcome.PASS: 1.0, Outcome.PARTIAL: share}.get(outcome, 0.0)
    fields: dict[str, Any] = {
        "control_id": name,
        "digest": "d",
        "outcome": outcome,
        "reason": None,
        "explanation": f"{name} is {outcome}",
        "points": round(most * full, 3),
        "max_points": most,
        "compliant": None,
        "total": None,
        "exposed": 0,
        "exposed_listed": 0,
        "exposed_digest": None,
        "observed": None,
        "evaluated_at": START,
        "first_seen_at": START,
        "changed_at": START,
        "stale_since": None,
        "regressed_at": None,
    }
    return Control(**fields | more)


def definition(name: str, **more: Any) -> ControlDefinition:
    """What a control is."""
    fields: dict[str, Any] = {
        "control_id": name,
        "digest": "d",
        "version": 1,
        "catalogue_generation": 1,
        "product": Product.SALESFORCE,
        "title": f"Title of {name}",
        "category": "Identity",
        "severity": Severity.HIGH,
        "max_points": 4,
        "user_impact": Effort.LOW,
        "implementation_cost": Effort.LOW,
        "description": "d",
        "rationale": "r",
        "remediation": Remediation(steps=["s"]),
    }
    return ControlDefinition(**fields | more)


def decision(name: str, status: Status | None = Status.PLANNED, *, revision: int = 1, **more: Any) -> Decision:
    """What somebody decided."""
    fields: dict[str, Any] = {
        "decision_id": f"{name}-{revision}",
        "control_id": name,
        "revision": revision,
        "status": status,
        "author": "ann",
        "decided_at": START + timedelta(minutes=revision),
    }
    return Decision(**fields | more)


def picture(
    controls: list[Control],
    *decisions: Decision,
    instance: str = "sales-eu",
    product: Product = Product.SALESFORCE,
    definitions: list[ControlDefinition] | None = None,
    templates: tuple[Decision, ...] = (),
    reopened: dict[str, str] | None = None,
    stale_at: datetime | None = None,
    clock: datetime | None = None,
) -> InstancePicture:
    """An instance; definitions that are not given are plain ones."""
    known = {f"{c.control_id}@d": definition(c.control_id) for c in controls}
    known |= {f"{d.control_id}@d": d for d in definitions or []}
    return paint(
        instance,
        product,
        Version("e", len(decisions), len(templates), clock),
        START,
        controls,
        known,
        {d.control_id: d for d in decisions},
        {d.control_id: d for d in templates},
        reopened or {},
        stale_at,
    )


def tenant(*pictures: InstancePicture) -> TenantPicture:
    """A tenant of these instances."""
    return TenantPicture({each.instance: each for each in pictures})
