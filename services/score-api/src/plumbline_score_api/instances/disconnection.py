"""What it means that an instance was disconnected, and which of its records come too late. Pure.

An instance is disconnected at a moment that its own clock may not have reached yet, so it is never before anything
that was known of it. A snapshot or a run that began later connects it again; whatever began before is late.
"""

from datetime import datetime

from plumbline_contracts.events import Health, InstanceStatus, Product
from pydantic import BaseModel, ConfigDict

from plumbline_score_api.audit.schemas import Action, AuditEntry, Author


class Disconnection(BaseModel):
    """Who disconnected an instance, when and why. `entry_id` names it in the audit trail."""

    model_config = ConfigDict(frozen=True)

    entry_id: str
    instance: str
    product: Product
    at: datetime
    who: str
    identity: str
    note: str | None = None

    @property
    def author(self) -> Author:
        """Who did it."""
        return Author(self.who, self.identity)

    @property
    def entry(self) -> AuditEntry:
        """As it stands in the audit trail."""
        return AuditEntry(
            entry_id=self.entry_id,
            at=self.at,
            who=self.who,
            identity=self.identity,
            action=Action.INSTANCE_DISCONNECTED,
            instance=self.instance,
            note=self.note,
        )


def moment(now: datetime, started_at: datetime | None, status: InstanceStatus | None) -> datetime:
    """When an instance is disconnected: now, but not before the snapshots and runs that are known of it."""
    known = [started_at, _begun(status) if status is not None else None]
    return max([now, *(each for each in known if each is not None)])


def connects(status: InstanceStatus, disconnected_at: datetime) -> bool:
    """Whether a status says that the instance is there again: a run began after it was disconnected."""
    begun = _begun(status)
    return status.health is not Health.PAUSED and begun is not None and begun > disconnected_at


def _begun(status: InstanceStatus) -> datetime | None:
    """When the newest run or snapshot began that a status tells of."""
    moments = [status.last_started_at]
    moments += [run.started_at for run in (status.last_run, status.last_success) if run is not None]
    return max((each for each in moments if each is not None), default=None)
