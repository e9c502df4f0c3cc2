"""Connections and statuses that the tests need, built as the service builds them."""

from datetime import UTC, datetime
from typing import Any

from plumbline_collector.connections import Connection
from plumbline_contracts.events import (
    ApiBudget,
    CollectionRequest,
    Health,
    InstanceStatus,
    Product,
    RequestReason,
    RunSummary,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def connection(instance: str = "sales-eu", **changes: Any) -> Connection:
    """A Salesforce connection of the tenant contoso."""
    return Connection.model_validate(
        {
            "tenant": "contoso",
            "instance": instance,
            "product": "salesforce",
            "url": "https://contoso.my.salesforce.com",
            "auth": {"method": "client_credentials", "client_id": "id", "client_secret": {"env": "SECRET"}},
            **changes,
        }
    )


def request(instance: str = "sales-eu", request_id: str = "r1") -> CollectionRequest:
    """A person's request."""
    return CollectionRequest(
        request_id=request_id,
        tenant="contoso",
        instance=instance,
        reason=RequestReason.USER,
        requested_by="ann",
        requested_at=NOW,
    )


def run(*, at: datetime = NOW, succeeded: bool = True, request_id: str = "r1") -> RunSummary:
    """A run that took no time."""
    return RunSummary(
        request_id=request_id,
        reason=RequestReason.SCHEDULE,
        started_at=at,
        completed_at=at,
        succeeded=succeeded,
        message="",
    )


def status(instance: str = "sales-eu", **changes: Any) -> InstanceStatus:
    """The status of a healthy instance."""
    return InstanceStatus.model_validate(
        {
            "tenant": "contoso",
            "instance": instance,
            "product": Product.SALESFORCE,
            "url": "https://contoso.my.salesforce.com",
            "health": Health.HEALTHY,
            "message": "",
            "updated_at": NOW,
            **changes,
        }
    )


def budget(used: int, limit: int | None = 1000, *, total: int | None = None, day: str = "2026-03-01") -> ApiBudget:
    """A tenth of the product's limit is ours."""
    return ApiBudget(used_by_us=used, used_in_total=total, daily_limit=limit, share=0.1, day=day)
