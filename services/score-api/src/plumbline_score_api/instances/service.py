"""Instances as people see them, and what they may do with one."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from plumbline_contracts import ids, tracing
from plumbline_contracts.events import (
    AuditEntry,
    CollectionRequest,
    Health,
    Insights,
    InstanceStatus,
    Product,
    RequestReason,
)

from plumbline_score_api.audit.schemas import Author
from plumbline_score_api.instances.insights import InsightsService
from plumbline_score_api.instances.repository import InstanceRepository
from plumbline_score_api.instances.schemas import InstanceDetail, InstanceItem, ScanAccepted
from plumbline_score_api.keys.schemas import Restriction
from plumbline_score_api.pictures.picture import InstancePicture
from plumbline_score_api.pictures.service import PictureService
from plumbline_score_api.problems import NotFoundError
from plumbline_score_api.scores.service import instance_score
from plumbline_score_api.zones.service import ZoneService
from plumbline_score_api.zones.zone import ZoneLimits

Ask = Callable[[CollectionRequest], Awaitable[None]]
"""Sends a collection request and returns when the broker has it; raises UnavailableError."""

Document = dict[str, Any]


class InstanceService:
    """Instances of one tenant."""

    def __init__(
        self,
        repository: InstanceRepository,
        insights: InsightsService,
        pictures: PictureService,
        zones: ZoneService,
        ask: Ask,
    ) -> None:
        self._repository, self._insights, self._pictures = repository, insights, pictures
        self._zones, self._ask = zones, ask

    async def list(self, tenant: str, within: Restriction | None = None) -> list[InstanceItem]:
        """All instances; those that a restriction admits."""
        instances = await self._repository.list(tenant)
        insights = await self._insights.read_all(tenant)
        pictures = (await self._pictures.tenant(tenant, within)).instances
        limits = await self._zones.limits(tenant)
        return [
            InstanceItem(**_item(instance, pictures[instance["instance"]], insights[instance["product"]], limits))
            for instance in instances
            if instance["instance"] in pictures
        ]

    async def detail(self, tenant: str, instance: str) -> InstanceDetail:
        """One instance. Raises NotFoundError."""
        document = await self._found(tenant, instance)
        insights = await self._insights.read(tenant, Product(document["product"]))
        picture = await self._pictures.instance(tenant, instance)
        if picture is None:
            raise _nothing(instance)
        status, current = _status(document), document.get("current") or {}
        return InstanceDetail(
            **_item(document, picture, insights, await self._zones.limits(tenant)),
            last_success=status.last_success if status else None,
            consecutive_failures=status.consecutive_failures if status else 0,
            next_watch_at=status.next_watch_at if status else None,
            budget=status.budget if status else None,
            datasets=status.datasets if status else [],
            changes=[AuditEntry.model_validate_json(entry) for entry in current.get("audit_entries", [])],
            outcomes=dict(sorted(picture.summary.outcomes.items())),
            stale=picture.summary.stale,
            trace_id=current.get("trace_id"),
        )

    async def scan(self, tenant: str, instance: str, requested_by: str) -> ScanAccepted:
        """Ask for a collection now. Raises NotFoundError, UnavailableError."""
        await self._found(tenant, instance)
        request = CollectionRequest(
            request_id=ids.random_id(),
            tenant=tenant,
            instance=instance,
            reason=RequestReason.USER,
            requested_by=requested_by,
            requested_at=datetime.now(UTC),
        )
        await self._ask(request)
        return ScanAccepted(
            request_id=request.request_id,
            instance=instance,
            requested_at=request.requested_at,
            trace_id=tracing.trace_id(),
        )

    async def choose_insights(
        self, tenant: str, instance: str, insights: Insights, who: Author, note: str | None
    ) -> InstanceDetail:
        """Decide whether an instance counts. Raises NotFoundError, InvalidError, ConflictError."""
        document = await self._found(tenant, instance)
        await self._insights.choose(tenant, Product(document["product"]), instance, insights, who, note)
        return await self.detail(tenant, instance)

    async def _found(self, tenant: str, instance: str) -> Document:
        document = await self._repository.find(tenant, instance)
        if document is None:
            raise _nothing(instance)
        return document


def _nothing(instance: str) -> NotFoundError:
    return NotFoundError(f"No instance {instance} is connected.")


def _status(document: Document) -> InstanceStatus | None:
    body = document.get("status")
    return InstanceStatus.model_validate_json(body) if body else None


def _item(document: Document, picture: InstancePicture, insights: dict[str, Insights], limits: ZoneLimits) -> Document:
    status = _status(document)
    return {
        **instance_score(picture, insights.get(picture.instance, Insights.OFF), limits).model_dump(),
        "product": document["product"],
        "health": status.health if status else Health.PENDING,
        "message": status.message if status else "No status has arrived yet.",
        "is_collecting": bool(status and status.is_collecting),
        "url": status.url if status else None,
        "last_run": status.last_run if status else None,
        "next_full_at": status.next_full_at if status else None,
    }
