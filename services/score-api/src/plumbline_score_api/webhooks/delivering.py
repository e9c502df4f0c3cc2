"""Sends what is queued: few at once to one target and of one tenant, so that a slow one holds nobody up.

Any replica sends anything: who wants to send a delivery claims it in one step, for longer than an attempt can take.
A replica that is killed while it sends leaves a claim that ends, and the message is sent again under its own id.
"""

import asyncio
import secrets
import time
from collections import Counter as Tally
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from plumbline_contracts import ids
from prometheus_client import Counter, Gauge, Histogram

from plumbline_score_api.audit.repository import AuditRepository
from plumbline_score_api.audit.schemas import SYSTEM, Action, AuditEntry
from plumbline_score_api.webhooks import signing
from plumbline_score_api.webhooks.messages import MessageType
from plumbline_score_api.webhooks.notifying import Do
from plumbline_score_api.webhooks.repository import DeliveryRepository, WebhookRepository
from plumbline_score_api.webhooks.retrying import due_again
from plumbline_score_api.webhooks.schemas import Attempt, AttemptOutcome, Delivery, DeliveryState
from plumbline_score_api.webhooks.sending import Sender, Sent
from plumbline_score_api.webhooks.service import described
from plumbline_score_api.webhooks.subscription import Disabled, DisabledReason, Secret, Subscriber, Subscription
from plumbline_score_api.webhooks.targets import host_of

log = structlog.get_logger(__name__)

ATTEMPTS = Counter("plumbline_score_api_webhook_attempts_total", "Attempts to deliver, by outcome", ["outcome"])
ENDED = Counter("plumbline_score_api_webhook_deliveries_total", "Deliveries that ended, by state", ["state"])
DISABLED = Counter("plumbline_score_api_webhooks_disabled_total", "Webhooks that were disabled, by reason", ["reason"])
LATENCY = Histogram("plumbline_score_api_webhook_seconds", "Time of an attempt")
QUEUE = Gauge("plumbline_score_api_webhook_queue", "Deliveries that are pending, of all replicas")
OLDEST = Gauge("plumbline_score_api_webhook_oldest_seconds", "Age of the oldest pending delivery, of all replicas")

AT_ONCE_PER_TARGET = 2
TENANTS_SHARE = 4
"""One tenant has at most this part of what is sent at once: 1/4, and at least what two targets have."""
POLL_SECONDS = 0.5
FOUND_AT_ONCE = 50
CLAIM_MARGIN_SECONDS = 60.0
MEASURE_SECONDS = 15.0
PRUNE_SECONDS = 3600.0
_CHANCE = secrets.SystemRandom()


class Courier:
    """One replica's part of the deliveries of all tenants."""

    def __init__(
        self,
        webhooks: WebhookRepository,
        deliveries: DeliveryRepository,
        audit: AuditRepository,
        sender: Sender,
        do: Do,
        *,
        at_once: int,
        timeout_seconds: float,
    ) -> None:
        self._webhooks, self._deliveries, self._audit = webhooks, deliveries, audit
        self._sender, self._do, self._at_once = sender, do, at_once
        self._lease = timedelta(seconds=timeout_seconds + CLAIM_MARGIN_SECONDS)
        self._of_tenant_at_once = max(2 * AT_ONCE_PER_TARGET, at_once // TENANTS_SHARE)
        self._running: dict[asyncio.Task[None], Delivery] = {}
        self._is_stopping = asyncio.Event()
        self._measured_at = self._pruned_at = float("-inf")

    def stop(self) -> None:
        """End when what is being sent has been sent."""
        self._is_stopping.set()

    async def run(self) -> None:
        """Send until stopped. A lasting failure of the database leaves; what is being sent is sent again then."""
        try:
            while not self._is_stopping.is_set():
                await self._do(self._fill)
                await self._do(self._look_after)
                await self._pause()
            while self._running:
                await self._settle(None)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            await self._sender.close()

    async def _pause(self) -> None:
        """Until something that is being sent has been sent, or for a moment."""
        stopping = asyncio.create_task(self._is_stopping.wait())
        try:
            await asyncio.wait([stopping, *self._running], timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        await self._settle(0)

    async def _settle(self, timeout_seconds: float | None) -> None:
        """Take note of what was sent. Raises what it raised."""
        if not self._running:
            return
        done, _ = await asyncio.wait(self._running, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            del self._running[task]
            task.result()

    async def _fill(self) -> None:
        """Begin to send what is due, as far as there is room."""
        has_more = True
        while has_more and len(self._running) < self._at_once:
            has_more = await self._begin_some()

    async def _begin_some(self) -> bool:
        """Whether something was begun, so that there may be more."""
        targets, tenants = self._full()
        found = await self._deliveries.due(datetime.now(UTC), FOUND_AT_ONCE, but_tenants=tenants, but_webhooks=targets)
        count = 0
        for delivery in found:
            if self._has_room(delivery) and await self._begin(delivery):
                count += 1
        return count > 0

    def _full(self) -> tuple[list[str], list[str]]:
        """Targets and tenants that have what they may have at once."""
        targets = Tally(_target(each) for each in self._running.values())
        tenants = Tally(each.tenant for each in self._running.values())
        return (
            [name for name, count in targets.items() if count >= AT_ONCE_PER_TARGET],
            [name for name, count in tenants.items() if count >= self._of_tenant_at_once],
        )

    def _has_room(self, delivery: Delivery) -> bool:
        targets, tenants = self._full()
        is_free = len(self._running) < self._at_once
        return is_free and _target(delivery) not in targets and delivery.tenant not in tenants

    async def _begin(self, delivery: Delivery) -> bool:
        claim, until = ids.random_id(), datetime.now(UTC) + self._lease
        claimed = await self._deliveries.claim(delivery.tenant, delivery, claim, until)
        if claimed is not None:
            self._running[asyncio.create_task(self._deliver(claimed))] = claimed
        return claimed is not None

    async def _look_after(self) -> None:
        """Measure the queue, and delete what was kept long enough."""
        passed, now = time.monotonic(), datetime.now(UTC)
        if passed - self._measured_at >= MEASURE_SECONDS:
            count, oldest = await self._deliveries.queue()
            QUEUE.set(count)
            OLDEST.set((now - oldest).total_seconds() if oldest is not None else 0)
            self._measured_at = passed
        if passed - self._pruned_at >= PRUNE_SECONDS:
            await self._deliveries.prune(now)
            self._pruned_at = passed

    # --- one delivery

    async def _deliver(self, delivery: Delivery) -> None:
        prepared: list[tuple[Subscriber, list[Secret]]] = []

        async def prepare() -> None:
            prepared[:] = await self._prepared(delivery)

        await self._do(prepare)
        for subscriber, known in prepared:
            sent = await self._send(subscriber.subscription, known, delivery)
            await self._do(partial(self._conclude, delivery, subscriber, sent))

    async def _prepared(self, delivery: Delivery) -> list[tuple[Subscriber, list[Secret]]]:
        """Whom a delivery goes to, with the secrets that sign; nobody when it is not to be sent any more."""
        subscriber = await self._webhooks.subscriber(delivery.tenant, delivery.webhook_id)
        _, known = await self._webhooks.secrets(delivery.tenant, delivery.webhook_id)
        if subscriber is None or not known:
            await self._deliveries.forget(delivery.tenant, delivery.webhook_id)
            return []
        if not subscriber.subscription.is_enabled and not delivery.is_manual:
            await self._end(delivery, DeliveryState.CANCELLED, None)
            return []
        return [(subscriber, known)]

    async def _send(self, subscription: Subscription, known: list[Secret], delivery: Delivery) -> Sent:
        now, body = datetime.now(UTC), delivery.body.encode()
        signing_now = [each.text for each in known if each.expires_at is None or each.expires_at > now]
        sent = await self._sender.post(
            subscription.url, signing.headers(signing_now, delivery.message_id, now, body), body
        )
        ATTEMPTS.labels(sent.attempt.outcome.value).inc()
        LATENCY.observe(sent.attempt.latency_ms / 1000)
        log.info(
            "webhook attempt",
            tenant=delivery.tenant,
            webhook=delivery.webhook_id,
            message=delivery.message_id,
            host=host_of(subscription.url),
            outcome=sent.attempt.outcome.value,
            response_code=sent.attempt.response_code,
            number=delivery.attempts,
        )
        return sent

    async def _conclude(self, delivery: Delivery, subscriber: Subscriber, sent: Sent) -> None:
        attempt, subscription = sent.attempt, subscriber.subscription
        if attempt.outcome is AttemptOutcome.DELIVERED:
            await self._webhooks.delivered(delivery.tenant, delivery.webhook_id, attempt.at)
            await self._end(delivery, DeliveryState.DELIVERED, attempt)
            return
        if attempt.outcome is AttemptOutcome.GONE:
            await self._disable(delivery, DisabledReason.GONE, "The target answered 410 Gone.")
            await self._end(delivery, DeliveryState.FAILED, attempt)
            return
        now = datetime.now(UTC)
        if sent.rest_seconds:
            await self._rest(delivery, now + timedelta(seconds=sent.rest_seconds))
        is_tried_again = subscription.is_enabled and delivery.type is not MessageType.TEST
        due = due_again(delivery.attempts, now, sent.rest_seconds, _CHANCE.random()) if is_tried_again else None
        if due is not None:
            await self._deliveries.conclude(delivery.tenant, delivery, DeliveryState.PENDING, due, attempt)
            return
        if is_tried_again and not _got_through(subscriber, delivery):
            await self._disable(delivery, DisabledReason.FAILING, _failing(delivery, attempt))
        await self._end(delivery, DeliveryState.FAILED, attempt)

    async def _rest(self, delivery: Delivery, until: datetime) -> None:
        """Send nothing to the target before it wants something."""
        await self._webhooks.hold(delivery.tenant, delivery.webhook_id, until)
        await self._deliveries.hold(delivery.tenant, delivery.webhook_id, until)

    async def _end(self, delivery: Delivery, state: DeliveryState, attempt: Attempt | None) -> None:
        due = datetime.now(UTC)
        if await self._deliveries.conclude(delivery.tenant, delivery, state, due, attempt):
            ENDED.labels(state.value).inc()

    async def _disable(self, delivery: Delivery, reason: DisabledReason, detail: str) -> None:
        """Turn a subscription off for good. What is killed in between does it again, under one entry of the trail."""
        tenant, now = delivery.tenant, datetime.now(UTC)
        while (known := await self._webhooks.find(tenant, delivery.webhook_id)) is not None and known.is_enabled:
            entry = AuditEntry(
                entry_id=f"webhook-disabled/{known.webhook_id}/{known.revision}",
                at=now,
                who=SYSTEM.name,
                identity=SYSTEM.identity,
                action=Action.WEBHOOK_DISABLED,
                before="enabled",
                after="disabled",
                note=detail,
                detail=described(known),
            )
            await self._audit.add(tenant, [entry])
            change = {"disabled": Disabled(reason=reason, at=now, detail=detail), "revision": known.revision + 1}
            if await self._webhooks.replace(tenant, known, known.model_copy(update=change)):
                DISABLED.labels(reason.value).inc()
                log.warning("webhook disabled", tenant=tenant, webhook=known.webhook_id, reason=reason.value)


def _target(delivery: Delivery) -> str:
    return f"{delivery.tenant}/{delivery.webhook_id}"


def _got_through(subscriber: Subscriber, delivery: Delivery) -> bool:
    """Whether anything was delivered while a message was being tried."""
    return subscriber.delivered_at is not None and subscriber.delivered_at > delivery.queued_at


def _failing(delivery: Delivery, attempt: Attempt) -> str:
    return f"Nothing got through in {delivery.attempts} attempts; the last one: {attempt.detail}."
