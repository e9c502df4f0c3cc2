"""Disconnecting an instance: one write that readers see at once, and what must follow it.

The write sets the instance's document to disconnected and takes evaluation and status out of it. All that follows can
be done again; the projector does it, and finishes it before anything of the same name is connected anew.
"""

from datetime import UTC, datetime
from typing import Protocol

from plumbline_contracts import ids
from plumbline_contracts.events import InstanceStatus, Product

from plumbline_score_api.audit.repository import AuditRepository
from plumbline_score_api.audit.schemas import Author
from plumbline_score_api.decisions.service import DecisionService
from plumbline_score_api.history.recording import Recorder
from plumbline_score_api.instances.disconnection import Disconnection, moment
from plumbline_score_api.instances.insights import InsightsService
from plumbline_score_api.instances.repository import DisconnectionRepository, Document
from plumbline_score_api.problems import ConflictError, NotFoundError

ATTEMPTS = 10


class Erase(Protocol):
    """Deletes findings, exposed entities and staged parts of snapshots that began up to a moment."""

    async def __call__(self, tenant: str, instance: str, until: datetime) -> None:
        """Doing it again changes nothing."""


class DisconnectingService:
    """Disconnects instances, for the API."""

    def __init__(self, repository: DisconnectionRepository, insights: InsightsService, audit: AuditRepository) -> None:
        self._repository, self._insights, self._audit = repository, insights, audit

    async def disconnect(self, tenant: str, instance: str, who: Author, note: str | None) -> None:
        """Disconnect an instance; one that is disconnected already stays so. Raises NotFoundError, ConflictError.

        When this is cut short after the first write, the projector does the rest.
        """
        for _ in range(ATTEMPTS):
            known = await self._repository.find(tenant, instance)
            if known is None:
                raise NotFoundError(f"No instance {instance} is connected.")
            if known.get("is_disconnected"):
                return
            disconnection = _disconnection(known, who, note)
            if await self._repository.disconnect(tenant, disconnection, known):
                await self._insights.leave(tenant, disconnection)
                await self._audit.add(tenant, [disconnection.entry])
                return
        raise ConflictError(f"{instance} is being evaluated again and again; try again.")


class ClosingService:
    """Does what follows, for the projector."""

    def __init__(
        self,
        repository: DisconnectionRepository,
        insights: InsightsService,
        audit: AuditRepository,
        recorder: Recorder,
        decisions: DecisionService,
        erase: Erase,
    ) -> None:
        self._repository, self._insights, self._audit = repository, insights, audit
        self._recorder, self._decisions, self._erase = recorder, decisions, erase

    async def finish(self, tenant: str, instance: str) -> None:
        """Close what an instance leaves behind: history and audit stay, the rest goes. It can be done again.

        Raises ConflictError.
        """
        disconnection = await self._repository.closing(tenant, instance)
        if disconnection is None:
            return
        await self._insights.leave(tenant, disconnection)
        await self._audit.add(tenant, [disconnection.entry])
        await self._recorder.record_insights(tenant, disconnection.product)
        await self._recorder.record_gone(tenant, instance)
        await self._decisions.drop(tenant, instance)
        await self._erase(tenant, instance, disconnection.at)
        await self._repository.closed(tenant, disconnection)

    async def pending(self) -> list[tuple[str, str]]:
        """Tenant and instance of what is not finished: all tenants'."""
        return await self._repository.pending()


def _disconnection(known: Document, who: Author, note: str | None) -> Disconnection:
    status = InstanceStatus.model_validate_json(known["status"]) if known.get("status") else None
    started_at = (known.get("current") or {}).get("started_at")
    return Disconnection(
        entry_id=ids.random_id(),
        instance=known["instance"],
        product=Product(known["product"]),
        at=moment(datetime.now(UTC), started_at, status),
        who=who.name,
        identity=who.identity,
        note=note,
    )
