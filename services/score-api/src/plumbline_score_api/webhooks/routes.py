"""Routes about webhooks, and the messages that they bring, for the document."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response

from plumbline_score_api.access import NoQuery, Reader, Writer
from plumbline_score_api.problems import RESPONSES, response_of
from plumbline_score_api.webhooks.messages import (
    ConnectionMessage,
    ExceptionMessage,
    FindingMessage,
    OcsfMessage,
    ProbeMessage,
    ScoreDroppedMessage,
)
from plumbline_score_api.webhooks.schemas import (
    DeliveryItem,
    DeliveryPage,
    DeliveryQuery,
    RotateBody,
    SecretCreated,
    WebhookBody,
    WebhookCreated,
    WebhookItem,
    WebhookList,
    WebhookPatch,
)
from plumbline_score_api.webhooks.service import IsKnown, WebhookService
from plumbline_score_api.webhooks.subscription import Subscription

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], responses=RESPONSES)

WebhookId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
DeliveryId = Annotated[str, Path(pattern=r"^msg_[0-9a-f]{32}$")]
Empty = Annotated[NoQuery, Query()]
IfMatch = Annotated[
    str | None,
    Header(max_length=1000, description="The ETag of the webhook that you know; another one is answered 412"),
]
GUARDED: dict[int | str, dict[str, Any]] = {412: response_of(412)}


def _webhooks(request: Request) -> WebhookService:
    found: WebhookService = request.app.state.services.webhooks
    return found


def tag_of(subscription: Subscription) -> str:
    """The ETag of a subscription."""
    return f'"{subscription.webhook_id}-{subscription.revision}"'


def _is_known(if_match: str | None) -> IsKnown:
    """Whether what stands is what the caller knows; whatever it is, when he did not say. Weak tags never match."""
    tags = [tag.strip() for tag in if_match.split(",")] if if_match is not None else ["*"]
    return lambda found: "*" in tags or tag_of(found) in tags


@router.get("", operation_id="listWebhooks")
async def list_webhooks(request: Request, who: Reader, _: Empty) -> WebhookList:
    """All subscriptions of the tenant."""
    return await _webhooks(request).list(who)


@router.post("", operation_id="createWebhook", status_code=201)
async def create_webhook(
    request: Request, response: Response, who: Writer, body: WebhookBody, _: Empty
) -> WebhookCreated:
    """Subscribe to what happens from now on. The answer is the only sight of the secret that signs."""
    found, shown = await _webhooks(request).create(who, body)
    response.headers["ETag"] = tag_of(found)
    return shown


@router.get("/{webhook_id}", operation_id="getWebhook")
async def get_webhook(
    request: Request, who: Reader, webhook_id: WebhookId, response: Response, _: Empty
) -> WebhookItem:
    """One subscription."""
    found, shown = await _webhooks(request).one(who, webhook_id)
    response.headers["ETag"] = tag_of(found)
    return shown


@router.patch("/{webhook_id}", operation_id="updateWebhook", responses=GUARDED)
async def update_webhook(
    request: Request,
    response: Response,
    who: Writer,
    webhook_id: WebhookId,
    body: WebhookPatch,
    _: Empty,
    if_match: IfMatch = None,
) -> WebhookItem:
    """Change what is sent and where to, or turn it off and on. What is left out of the body stays."""
    found, shown = await _webhooks(request).change(who, webhook_id, body, _is_known(if_match))
    response.headers["ETag"] = tag_of(found)
    return shown


@router.delete(
    "/{webhook_id}", operation_id="deleteWebhook", status_code=204, response_class=Response, responses=GUARDED
)
async def delete_webhook(
    request: Request, who: Writer, webhook_id: WebhookId, _: Empty, if_match: IfMatch = None
) -> None:
    """End a subscription. Its deliveries are forgotten."""
    await _webhooks(request).delete(who, webhook_id, _is_known(if_match))


@router.post("/{webhook_id}/rotate-secret", operation_id="rotateWebhookSecret")
async def rotate_secret(
    request: Request, who: Writer, webhook_id: WebhookId, body: RotateBody, _: Empty
) -> SecretCreated:
    """Make a new secret. Messages carry a signature of the old one as well until its time is over."""
    return await _webhooks(request).rotate(who, webhook_id, body)


@router.post("/{webhook_id}/test", operation_id="testWebhook", status_code=202)
async def send_test(request: Request, who: Writer, webhook_id: WebhookId, _: Empty) -> DeliveryItem:
    """Send a message of the type `webhook.test`, once, also while the subscription is disabled."""
    return await _webhooks(request).test(who, webhook_id)


@router.get("/{webhook_id}/deliveries", operation_id="listWebhookDeliveries")
async def list_deliveries(
    request: Request, who: Reader, webhook_id: WebhookId, query: Annotated[DeliveryQuery, Query()]
) -> DeliveryPage:
    """What was sent and what waits, the newest first."""
    return await _webhooks(request).deliveries(who.tenant, webhook_id, query)


@router.get("/{webhook_id}/deliveries/{delivery_id}", operation_id="getWebhookDelivery")
async def get_delivery(
    request: Request, who: Reader, webhook_id: WebhookId, delivery_id: DeliveryId, _: Empty
) -> DeliveryItem:
    """One message, with its last attempts."""
    return await _webhooks(request).delivery(who.tenant, webhook_id, delivery_id)


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver", operation_id="redeliverWebhook", status_code=202)
async def redeliver(
    request: Request, who: Writer, webhook_id: WebhookId, delivery_id: DeliveryId, _: Empty
) -> DeliveryItem:
    """Send a message again now, under the same `webhook-id`, whatever became of it and of the subscription."""
    return await _webhooks(request).redeliver(who, webhook_id, delivery_id)


# --- what is sent to a target. Nobody asks for it here: the document describes it.

_TAKEN: dict[int | str, dict[str, Any]] = {
    204: {"description": "It arrived. Any other status of 2xx says the same."},
    410: {"description": "Send nothing more: the subscription is turned off."},
    "4XX": {"description": "It did not arrive and is sent again later, as after any other status."},
}
messages = APIRouter(tags=["webhooks"], responses=_TAKEN)
_SIGNED = {
    "webhook-id": ("The id of the message, the same at every attempt", {"type": "string"}),
    "webhook-timestamp": ("When this attempt was made, in seconds; refuse an old one as a replay", {"type": "integer"}),
    "webhook-signature": (
        "`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`; several, parted by spaces, in a rotation",
        {"type": "string"},
    ),
}
_OUTSIDE: dict[str, Any] = {
    "security": [],
    "parameters": [
        {"name": name, "in": "header", "required": True, "description": text, "schema": schema}
        for name, (text, schema) in _SIGNED.items()
    ],
}
"""A receiver knows us by the signature, and has no key of ours."""


@messages.post("score.dropped", operation_id="onScoreDropped", status_code=204, openapi_extra=_OUTSIDE)
def on_score_dropped(body: ScoreDroppedMessage) -> None:
    """A score fell by at least as much as the subscription says."""


@messages.post("finding", operation_id="onFinding", status_code=204, openapi_extra=_OUTSIDE)
def on_finding(body: FindingMessage) -> None:
    """A finding opened (`finding.opened`) or regressed (`finding.regressed`)."""


@messages.post("exception.expiring", operation_id="onExceptionExpiring", status_code=204, openapi_extra=_OUTSIDE)
def on_exception_expiring(body: ExceptionMessage) -> None:
    """A decision ends soon."""


@messages.post("connection", operation_id="onConnection", status_code=204, openapi_extra=_OUTSIDE)
def on_connection(body: ConnectionMessage) -> None:
    """A connection became unhealthy (`connection.unhealthy`) or is well again (`connection.recovered`)."""


@messages.post("compliance.finding", operation_id="onComplianceFinding", status_code=204, openapi_extra=_OUTSIDE)
def on_compliance_finding(body: OcsfMessage) -> None:
    """A finding changed: the event that SIEMs read on the topic `compliance-findings`."""


@messages.post("webhook.test", operation_id="onWebhookTest", status_code=204, openapi_extra=_OUTSIDE)
def on_webhook_test(body: ProbeMessage) -> None:
    """A person asked for a test."""
