"""Bodies and answers about webhooks."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from plumbline_contracts.events import Product
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from plumbline_score_api.webhooks.messages import MessageType
from plumbline_score_api.webhooks.subscription import Count, Disabled, Events, Instances, Subscription
from plumbline_score_api.webhooks.targets import origin_of

MOST_GRACE_HOURS = 168
LONGEST_URL = 2000
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Url = Annotated[str, StringConstraints(max_length=LONGEST_URL, pattern=r"^https?://[^\s\x00-\x1f\x7f]+$")]
Products = frozenset[Product]

EXAMPLE: dict[str, Any] = {
    "name": "SOC",
    "url": "https://hooks.contoso.example/plumbline",
    "events": {"finding_opened": {"severity": "high"}, "connection_unhealthy": {}},
}


class WebhookBody(BaseModel):
    """The subscription to make."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    name: Name = Field(description="What it is for")
    url: Url = Field(description="Where messages are sent, by POST: https, no redirect, no private address")
    events: Events
    instances: Instances = Field(default=frozenset(), description="Only about these instances; empty for all")
    products: Products = Field(default=frozenset(), description="Only about these products; empty for all")


class WebhookPatch(BaseModel):
    """What is to be changed; what is left out, or null, stays. `events` are replaced as a whole."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "SOC"}]})

    name: Name | None = None
    url: Url | None = None
    events: Events | None = None
    instances: Instances | None = None
    products: Products | None = None
    is_enabled: bool | None = Field(
        default=None, description="False sends and queues nothing more; true begins again, however it ended"
    )


class WebhookItem(BaseModel):
    """One subscription. Its secret is nowhere."""

    webhook_id: str
    name: str
    url: str = Field(description="Whole for those who may change it; others see scheme and host")
    events: Events
    instances: list[str]
    products: list[Product]
    is_enabled: bool
    disabled: Disabled | None = Field(description="Why it gets nothing")
    created_at: datetime
    created_by: str
    changed_at: datetime
    changed_by: str


class WebhookList(BaseModel):
    """All subscriptions of the tenant, the oldest first."""

    items: list[WebhookItem]


class WebhookCreated(WebhookItem):
    """A new subscription, and the only sight of its secret."""

    secret: str = Field(description="`whsec_` and the key in base64. It cannot be shown again.")


class RotateBody(BaseModel):
    """How long the old secret still signs."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"grace_hours": 24}]})

    grace_hours: Count = Field(
        default=24,
        ge=0,
        le=MOST_GRACE_HOURS,
        description="0 ends every older secret at once, as after a leak",
    )


class SecretCreated(BaseModel):
    """A new secret, and its only sight."""

    webhook_id: str
    secret: str
    old_until: datetime | None = Field(description="Until when messages carry a signature of the old secret as well")


class DeliveryState(StrEnum):
    """What became of a message."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AttemptOutcome(StrEnum):
    """How one attempt ended."""

    DELIVERED = "delivered"
    STATUS = "status"
    GONE = "gone"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    FORBIDDEN = "forbidden"


class Attempt(BaseModel):
    """One attempt to deliver."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    latency_ms: int
    outcome: AttemptOutcome
    response_code: int | None
    detail: str | None = Field(description="Why it did not succeed")


class DeliveryItem(BaseModel):
    """One message to one subscription. `delivery_id` is the header `webhook-id`."""

    delivery_id: str
    type: MessageType
    state: DeliveryState
    created_at: datetime
    next_attempt_at: datetime | None = Field(description="For a pending one")
    attempts: int = Field(description="Since it was queued, by the system or by a person")
    response_code: int | None = Field(description="Of the last attempt")
    latency_ms: int | None = Field(description="Of the last attempt")
    log: list[Attempt] = Field(description="The last attempts, the oldest first")
    body: str = Field(description="What is sent, to the byte")


class DeliveryPage(BaseModel):
    """A page of the delivery log, the newest first."""

    items: list[DeliveryItem]
    next_cursor: str | None


class DeliveryQuery(BaseModel):
    """Filters and page; several values of one filter are alternatives."""

    model_config = ConfigDict(extra="forbid")

    state: list[DeliveryState] = Field(default_factory=list)
    type: list[MessageType] = Field(default_factory=list)
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(
        default=None, min_length=1, max_length=500, description="`next_cursor` of the page before"
    )


class Delivery(BaseModel):
    """A message to one subscription, as it is stored. The id of the message is the same for every attempt."""

    model_config = ConfigDict(frozen=True)

    tenant: str
    webhook_id: str
    message_id: str
    type: MessageType
    body: str
    created_at: datetime
    queued_at: datetime
    due_at: datetime
    keep_until: datetime
    state: DeliveryState = DeliveryState.PENDING
    is_manual: bool = False
    attempts: int = 0
    claim: str | None = None
    log: tuple[Attempt, ...] = ()


def item(found: Delivery) -> DeliveryItem:
    """A delivery as it is shown."""
    last = found.log[-1] if found.log else None
    is_pending = found.state is DeliveryState.PENDING
    return DeliveryItem(
        delivery_id=found.message_id,
        type=found.type,
        state=found.state,
        created_at=found.created_at,
        next_attempt_at=found.due_at if is_pending else None,
        attempts=found.attempts,
        response_code=last.response_code if last else None,
        latency_ms=last.latency_ms if last else None,
        log=list(found.log),
        body=found.body,
    )


def view(subscription: Subscription, *, is_whole: bool) -> WebhookItem:
    """A subscription as it is shown: with the whole URL, which may hold a token of the receiver, or its origin."""
    told = subscription.model_dump(exclude={"revision", "url", "instances", "products", "events"})
    return WebhookItem(
        **told,
        events=subscription.events,
        url=subscription.url if is_whole else origin_of(subscription.url),
        instances=sorted(subscription.instances),
        products=sorted(subscription.products),
        is_enabled=subscription.is_enabled,
    )
