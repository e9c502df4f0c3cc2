"""Definitions, evaluations and statuses as the other services would send them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from plumbline_contracts import envelope, ids
from plumbline_contracts.events import (
    AuditEntry,
    ControlDefinition,
    ControlResult,
    ControlResults,
    ExposedEntities,
    ExposedEntity,
    Health,
    InstanceStatus,
    Outcome,
    Product,
    Remediation,
    UnknownReason,
)

START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
FUTURE = 4 * 24 * 60
"""The number of a snapshot or status that begins a day from now."""
POINTS = 3.0


def definition(control: str, *, generation: int = 1, digest: str = "d1", **changes: Any) -> ControlDefinition:
    """A control worth three points."""
    return ControlDefinition(
        control_id=control,
        digest=digest,
        version=1,
        catalogue_generation=generation,
        product=Product.SALESFORCE,
        title=f"Title of {control}",
        category="Identity",
        severity="high",
        max_points=POINTS,
        user_impact="low",
        implementation_cost="low",
        description="What is judged.",
        rationale="Why it matters.",
        remediation=Remediation(steps=["Open Setup.", "Change it."]),
        permissions=["View Setup and Configuration"],
    ).model_copy(update={"aliases": [f"MDA_{control}"], **changes})


def result(
    control: str,
    outcome: Outcome = Outcome.PASS,
    *,
    reason: UnknownReason | None = None,
    exposed: int = 0,
    share: float = 0.5,
    digest: str = "d1",
) -> ControlResult:
    """A result; `share` counts for PARTIAL alone."""
    achieved = {Outcome.PASS: 1.0, Outcome.PARTIAL: share}.get(outcome, 0.0)
    return ControlResult(
        control_id=control,
        control_digest=digest,
        outcome=outcome,
        reason=reason,
        explanation=f"{control} is {outcome}",
        share=achieved,
        points=round(POINTS * achieved, 3),
        max_points=POINTS,
        exposed=exposed,
        exposed_listed=exposed,
    )


@dataclass(frozen=True)
class Judged:
    """One evaluation of snapshot `number` of an instance; each snapshot starts a minute after the one before."""

    number: int
    results: Sequence[ControlResult] = field(default_factory=lambda: [result("C-1")])
    tenant: str = "contoso"
    instance: str = "sales-eu"
    product: Product = Product.SALESFORCE
    generation: int = 1
    catalogue: str = "c1"
    digest: str = "a" * 64
    hours: float = 0.0
    in_parts: int = 3
    changes: Sequence[AuditEntry] = ()

    @property
    def started_at(self) -> datetime:
        return START + timedelta(minutes=self.number, hours=self.hours)

    @property
    def snapshot_id(self) -> str:
        return ids.snapshot_id(self.tenant, self.instance, str(self.number))

    def parts(self) -> list[ControlResults]:
        """The parts in order: entities before the results they belong to, the results in the last part."""
        groups = [_entities(each) for each in self.results if each.exposed]
        bodies: list[dict[str, Any]] = [{"exposed": groups[n :: self.in_parts - 1]} for n in range(self.in_parts - 1)]
        last = {"results": list(self.results), "part_count": self.in_parts, "audit_entries": list(self.changes)}
        bodies.append(last)
        return [self._part(number, body) for number, body in enumerate(bodies)]

    def _part(self, number: int, body: dict[str, Any]) -> ControlResults:
        return ControlResults(
            tenant=self.tenant,
            instance=self.instance,
            product=self.product,
            evaluation_id=ids.evaluation_id(self.snapshot_id, self.catalogue),
            snapshot_id=self.snapshot_id,
            snapshot_digest=self.digest,
            snapshot_started_at=self.started_at,
            evaluated_at=self.started_at + timedelta(seconds=5),
            catalogue_digest=self.catalogue,
            catalogue_generation=self.generation,
            part=number,
            **body,
        )


def _entities(of: ControlResult) -> ExposedEntities:
    entities = [
        ExposedEntity(id=f"{n:018d}", name=f"user{n}@contoso.example", type="salesforce/user", detail={"idle_days": n})
        for n in range(of.exposed)
    ]
    return ExposedEntities(control_id=of.control_id, entities=entities)


def status(instance: str = "sales-eu", *, number: int = 0, **changes: Any) -> InstanceStatus:
    """A healthy status, written `number` minutes after the first."""
    return InstanceStatus(
        tenant="contoso",
        instance=instance,
        product=Product.SALESFORCE,
        url="https://contoso.my.salesforce.com",
        health=Health.HEALTHY,
        message="All datasets were read.",
        updated_at=START + timedelta(minutes=number),
    ).model_copy(update=changes)


def record(event: ControlResults | ControlDefinition | InstanceStatus) -> tuple[str, bytes]:
    """Key and value of an event."""
    return event.key, envelope.encode(event)
