"""Subscriptions as people manage them, and the log of what was delivered."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from plumbline_contracts import ids

from plumbline_score_api.audit.repository import AuditRepository
from plumbline_score_api.audit.schemas import Action, AuditEntry, Author
from plumbline_score_api.changes.repository import ChangeLogRepository
from plumbline_score_api.keys.schemas import Caller, Role
from plumbline_score_api.problems import ConflictError, InvalidError, NotFoundError, PreconditionFailedError
from plumbline_score_api.recommendations import cursors
from plumbline_score_api.webhooks.messages import MessageType, ProbeData, body_of, message_id
from plumbline_score_api.webhooks.repository import DeliveryRepository, WebhookRepository
from plumbline_score_api.webhooks.schemas import (
    Delivery,
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
    item,
    view,
)
from plumbline_score_api.webhooks.signing import SECRET_BYTES, secret_text
from plumbline_score_api.webhooks.subscription import Disabled, DisabledReason, Secret, Subscription
from plumbline_score_api.webhooks.targets import TargetRules, host_of, mistake

MOST_WEBHOOKS = 50
MOST_SECRETS = 4
"""What a message is signed with at most: with every secret whose time is not over."""
MOST_WAITING_TESTS = 5
KEEP = timedelta(days=30)
ATTEMPTS = 10
IsKnown = Callable[[Subscription], bool]
"""Whether a subscription is the one that the caller knows."""


class WebhookService:
    """Webhooks of one tenant."""

    def __init__(
        self,
        webhooks: WebhookRepository,
        deliveries: DeliveryRepository,
        changes: ChangeLogRepository,
        audit: AuditRepository,
        rules: TargetRules,
        keep: timedelta = KEEP,
    ) -> None:
        self._webhooks, self._deliveries, self._changes, self._audit = webhooks, deliveries, changes, audit
        self._rules, self._keep = rules, keep

    async def list(self, who: Caller) -> WebhookList:
        """All subscriptions."""
        found = await self._webhooks.of_tenant(who.tenant)
        return WebhookList(items=[_shown(each, who) for each in found])

    async def one(self, who: Caller, webhook_id: str) -> tuple[Subscription, WebhookItem]:
        """One subscription, and how it is shown. Raises NotFoundError."""
        found = await self._found(who.tenant, webhook_id)
        return found, _shown(found, who)

    async def create(self, who: Caller, body: WebhookBody) -> tuple[Subscription, WebhookCreated]:
        """Subscribe, to what happens from now on. Raises InvalidError, ConflictError."""
        self._refuse_bad(body.url)
        if len(await self._webhooks.of_tenant(who.tenant)) >= MOST_WEBHOOKS:
            raise ConflictError(f"There are {MOST_WEBHOOKS} webhooks; delete those that nobody needs.")
        now, by = datetime.now(UTC), _signed(who)
        made = Subscription(
            webhook_id=secrets.token_hex(8),
            revision=1,
            created_at=now,
            created_by=by,
            changed_at=now,
            changed_by=by,
            **{name: getattr(body, name) for name in ("name", "url", "events", "instances", "products")},
        )
        secret = _fresh()
        await self._webhooks.insert(who.tenant, made, secret, await self._changes.heads())
        await self._tell(who, Action.WEBHOOK_CREATED, made, now)
        return made, WebhookCreated(**_shown(made, who).model_dump(), secret=secret.text)

    async def change(
        self, who: Caller, webhook_id: str, patch: WebhookPatch, is_known: IsKnown
    ) -> tuple[Subscription, WebhookItem]:
        """Change a subscription. Raises NotFoundError, InvalidError, PreconditionFailedError, ConflictError."""
        if patch.url is not None:
            self._refuse_bad(patch.url)
        for _ in range(ATTEMPTS):
            known = await self._found(who.tenant, webhook_id)
            if not is_known(known):
                raise PreconditionFailedError("The webhook is not the one that you know; read it again.")
            new = _patched(known, patch, who)
            if new is known:
                return known, _shown(known, who)
            if await self._webhooks.replace(who.tenant, known, new):
                await self._tell(who, Action.WEBHOOK_CHANGED, new, new.changed_at)
                return new, _shown(new, who)
        raise ConflictError("The webhook is being changed by others; try again.")

    async def delete(self, who: Caller, webhook_id: str, is_known: IsKnown) -> None:
        """End a subscription: nothing more is sent, and its deliveries are forgotten.

        Raises NotFoundError, PreconditionFailedError.
        """
        known = await self._found(who.tenant, webhook_id)
        if not is_known(known):
            raise PreconditionFailedError("The webhook is not the one that you know; read it again.")
        await self._webhooks.delete(who.tenant, webhook_id)
        await self._deliveries.forget(who.tenant, webhook_id)
        await self._tell(who, Action.WEBHOOK_DELETED, known, datetime.now(UTC))

    async def rotate(self, who: Caller, webhook_id: str, body: RotateBody) -> SecretCreated:
        """A new secret; the old ones sign for a while beside it. Raises NotFoundError, ConflictError."""
        known = await self._found(who.tenant, webhook_id)
        now = datetime.now(UTC)
        until = now + timedelta(hours=body.grace_hours) if body.grace_hours else None
        rotations, old = await self._webhooks.secrets(who.tenant, webhook_id)
        made = _fresh()
        if not old or not await self._webhooks.rotate(who.tenant, webhook_id, rotations, _rotated(made, old, until)):
            raise ConflictError("The secret is being replaced by others; try again.")
        await self._tell(who, Action.WEBHOOK_SECRET_ROTATED, known, now)
        return SecretCreated(webhook_id=webhook_id, secret=made.text, old_until=until)

    async def test(self, who: Caller, webhook_id: str) -> DeliveryItem:
        """Queue a test message; it is sent once, also while the subscription is disabled.

        Raises NotFoundError, ConflictError.
        """
        known = await self._found(who.tenant, webhook_id)
        if await self._deliveries.count(who.tenant, webhook_id, MessageType.TEST) >= MOST_WAITING_TESTS:
            raise ConflictError("Several test messages wait already; see the deliveries.")
        now = datetime.now(UTC)
        data = ProbeData(webhook_id=webhook_id, name=known.name, asked_by=who.name)
        delivery = Delivery(
            tenant=who.tenant,
            webhook_id=webhook_id,
            message_id=message_id(who.tenant, MessageType.TEST, ids.random_id()),
            type=MessageType.TEST,
            body=body_of(MessageType.TEST, now, data),
            created_at=now,
            queued_at=now,
            due_at=now,
            keep_until=now + self._keep,
            is_manual=True,
        )
        await self._deliveries.enqueue(who.tenant, [delivery])
        await self._tell(who, Action.WEBHOOK_TESTED, known, now)
        return item(delivery)

    async def deliveries(self, tenant: str, webhook_id: str, query: DeliveryQuery) -> DeliveryPage:
        """A page of the delivery log. Raises NotFoundError, InvalidError for a bad cursor."""
        await self._found(tenant, webhook_id)
        scope = f"deliveries of {tenant} {webhook_id} {query.state} {query.type}"
        after = _position(query.cursor, scope)
        found = await self._deliveries.page(tenant, webhook_id, query.state, query.type, after, query.limit + 1)
        shown = found[: query.limit]
        last = shown[-1] if len(found) > query.limit else None
        more = cursors.encode(scope, last.created_at.isoformat(), last.message_id) if last is not None else None
        return DeliveryPage(items=[item(each) for each in shown], next_cursor=more)

    async def delivery(self, tenant: str, webhook_id: str, delivery_id: str) -> DeliveryItem:
        """One delivery. Raises NotFoundError."""
        return item(await self._delivery(tenant, webhook_id, delivery_id))

    async def redeliver(self, who: Caller, webhook_id: str, delivery_id: str) -> DeliveryItem:
        """Send a message again, under its own id. Raises NotFoundError, ConflictError while it is being sent."""
        subscription = await self._found(who.tenant, webhook_id)
        known, now = await self._delivery(who.tenant, webhook_id, delivery_id), datetime.now(UTC)
        if not await self._deliveries.queue_again(who.tenant, known, now, now + self._keep):
            raise ConflictError("The message is being sent at this moment.")
        await self._tell(who, Action.WEBHOOK_REDELIVERED, subscription, now)
        return item(await self._delivery(who.tenant, webhook_id, delivery_id))

    async def _found(self, tenant: str, webhook_id: str) -> Subscription:
        found = await self._webhooks.find(tenant, webhook_id)
        if found is None:
            raise NotFoundError(f"No webhook {webhook_id}.")
        return found

    async def _delivery(self, tenant: str, webhook_id: str, delivery_id: str) -> Delivery:
        await self._found(tenant, webhook_id)
        found = await self._deliveries.find(tenant, webhook_id, delivery_id)
        if found is None:
            raise NotFoundError(f"No delivery {delivery_id}.")
        return found

    def _refuse_bad(self, url: str) -> None:
        if found := mistake(url, self._rules):
            raise InvalidError(f"The url cannot be a target: {found}.")

    async def _tell(self, who: Caller, action: Action, about: Subscription, at: datetime) -> None:
        author = Author.of(who)
        entry = AuditEntry(
            entry_id=ids.random_id(),
            at=at,
            who=author.name,
            identity=author.identity,
            action=action,
            after=None if action is Action.WEBHOOK_DELETED else _state(about),
            detail=described(about),
        )
        await self._audit.add(who.tenant, [entry])


def described(subscription: Subscription) -> str:
    """A subscription in the audit trail: never its whole URL."""
    return f"webhook {subscription.webhook_id} ({subscription.name}) to {host_of(subscription.url)}"


def _state(subscription: Subscription) -> str:
    return "enabled" if subscription.is_enabled else "disabled"


def _shown(subscription: Subscription, who: Caller) -> WebhookItem:
    return view(subscription, is_whole=Role.WRITE in who.roles)


def _signed(who: Caller) -> str:
    return f"{who.name} ({who.identity})"


def _fresh() -> Secret:
    return Secret(secret_text(secrets.token_bytes(SECRET_BYTES)))


def _rotated(made: Secret, old: list[Secret], until: datetime | None) -> list[Secret]:
    """The secrets with a new one. Nothing old outlives `until`; without it all of them end now."""
    if until is None:
        return [made]
    ending = [Secret(each.text, min(each.expires_at or until, until)) for each in old]
    return [made, *ending][:MOST_SECRETS]


def _patched(known: Subscription, patch: WebhookPatch, who: Caller) -> Subscription:
    """The subscription with what the patch says; itself where that changes nothing."""
    sent = {name: getattr(patch, name) for name in ("name", "url", "events", "instances", "products")}
    change = {name: value for name, value in sent.items() if value is not None}
    now = datetime.now(UTC)
    if patch.is_enabled is not None and patch.is_enabled != known.is_enabled:
        off = Disabled(reason=DisabledReason.BY_PERSON, at=now, detail=f"{who.name} turned it off.")
        change["disabled"] = None if patch.is_enabled else off
    if all(getattr(known, name) == value for name, value in change.items()):
        return known
    author = {"changed_at": now, "changed_by": _signed(who), "revision": known.revision + 1}
    return known.model_copy(update=change | author)


def _position(cursor: str | None, scope: str) -> tuple[datetime, str] | None:
    """Moment and id of the last delivery that was shown. Raises InvalidError."""
    if cursor is None:
        return None
    at, name = cursors.decode(cursor, scope, str, str)
    try:
        return datetime.fromisoformat(str(at)), str(name)
    except ValueError as error:
        raise InvalidError("The cursor is not one of ours; start again without it.") from error
