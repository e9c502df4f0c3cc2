"""Queues messages: reads what is news, asks who wants it, and writes deliveries.

Everything that can be lost lies in the database before anything that remembers it is moved on. The change log is read
with a cursor per partition by the replica that owns the partition; the deliveries of a batch are written before the
cursor moves, under ids that follow from the entries. So a replica that is killed between the two finds the same
entries again and writes nothing twice, two replicas that both believe to be the owner write the same, and what a
database has acknowledged (majority, journal) outlives kill -9 of everything. Holding the cursor in memory, or in the
consumer's offsets, would lose or repeat entries, because numbers of the log and offsets of Kafka move apart.

What time brings (decisions that end) and how connections are (`_tell_connections`, the one place that reads instance
statuses) is looked at again and again: the ids follow from what is found, so looking again is harmless.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from plumbline_contracts.events import InstanceStatus
from prometheus_client import Counter

from plumbline_score_api.changes.changes import Change
from plumbline_score_api.changes.repository import ChangeLogRepository
from plumbline_score_api.decisions.repository import DecisionRepository
from plumbline_score_api.history.changing import ControlChange
from plumbline_score_api.instances.repository import InstanceRepository
from plumbline_score_api.pictures.service import PictureService
from plumbline_score_api.problems import UnavailableError
from plumbline_score_api.webhooks.matching import (
    LEVELS,
    News,
    Title,
    connection_news,
    expiring,
    finding_news,
    ocsf_news,
    opening,
    score_news,
    wanted,
)
from plumbline_score_api.webhooks.messages import MessageType, body_of, message_id
from plumbline_score_api.webhooks.repository import Condition, DeliveryRepository, ProgressRepository, WebhookRepository
from plumbline_score_api.webhooks.schemas import Delivery
from plumbline_score_api.webhooks.subscription import Subscriber

log = structlog.get_logger(__name__)

QUEUED = Counter("plumbline_score_api_webhook_messages_total", "Messages that were queued, by type", ["type"])
ENTRIES_AT_ONCE = 200
BATCHES_AT_ONCE = 20
"""How much of a backlog one turn reads of a partition, so that none of them waits for another."""
TURN_SECONDS = 1.0
CONNECTIONS_SECONDS = 10.0
EXPIRY_SECONDS = 60.0
Do = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
"""Does database work, which may be done twice, again while the database is away."""


@dataclass(frozen=True)
class Ownership:
    """Which partitions of the change log this replica looks after, and which keys."""

    partitions: Callable[[], set[int]]
    owns: Callable[[str], bool]


@dataclass(frozen=True)
class Sources:
    """Where news come from."""

    changes: ChangeLogRepository
    decisions: DecisionRepository
    instances: InstanceRepository
    pictures: PictureService


class Notifier:
    """Queues messages of all tenants."""

    def __init__(
        self,
        sources: Sources,
        webhooks: WebhookRepository,
        deliveries: DeliveryRepository,
        progress: ProgressRepository,
        ownership: Ownership,
        keep: timedelta,
    ) -> None:
        self._sources, self._webhooks, self._deliveries = sources, webhooks, deliveries
        self._progress, self._ownership, self._keep = progress, ownership, keep
        self._connections_at = self._expiry_at = float("-inf")
        self._is_stopping = asyncio.Event()

    def stop(self) -> None:
        """End after the turn in hand."""
        self._is_stopping.set()

    async def run(self, do: Do) -> None:
        """Queue what is news until stopped."""
        while not self._is_stopping.is_set():
            await do(partial(self.turn, datetime.now(UTC)))
            try:
                await asyncio.wait_for(self._is_stopping.wait(), TURN_SECONDS)
            except TimeoutError:
                continue

    async def turn(self, now: datetime) -> None:
        """Queue everything that is news now. Doing it again changes nothing."""
        for partition in sorted(self._ownership.partitions()):
            try:
                await self.read_log(partition, now)
            except UnavailableError as error:
                log.warning("webhook messages wait", partition=partition, problem=str(error))
        passed = time.monotonic()
        if passed - self._connections_at >= CONNECTIONS_SECONDS:
            await self.tell_connections(now)
            self._connections_at = passed
        if passed - self._expiry_at >= EXPIRY_SECONDS:
            await self.tell_expiries(now)
            self._expiry_at = passed

    # --- the change log

    async def read_log(self, partition: int, now: datetime) -> None:
        """Queue what the next entries of a partition say. Raises UnavailableError."""
        for _ in range(BATCHES_AT_ONCE):
            since = await self._progress.cursor(partition)
            entries = await self._sources.changes.of_all(partition, since, ENTRIES_AT_ONCE)
            if not entries:
                return
            tenants = {tenant for _, tenant, _ in entries} & set(await self._webhooks.tenants())
            for name in sorted(tenants):
                mine = [(number, change) for number, tenant, change in entries if tenant == name]
                await self._queue_entries(name, partition, mine, now)
            await self._progress.advance(partition, entries[-1][0])

    async def _queue_entries(
        self, tenant: str, partition: int, entries: list[tuple[int, Change]], now: datetime
    ) -> None:
        """The subscribers are asked for after the entries were read: who is not among them subscribed later."""
        subscribers = await self._webhooks.subscribers(tenant)
        changes = [change for _, change in entries]
        news = {each.event_id: each for each in await self._news(tenant, changes)}
        await self._queue(
            tenant,
            [
                (subscriber, news[change.event_id])
                for number, change in entries
                if change.event_id in news
                for subscriber in subscribers
                if subscriber.hears(partition, number)
            ],
            now,
        )

    async def _news(self, tenant: str, changes: Iterable[Change]) -> list[News]:
        products = await self._sources.instances.names(tenant)
        openings: list[tuple[Change, ControlChange]] = []
        found: list[News] = []
        for change in changes:
            if opened := opening(change):
                openings.append((change, opened))
            elif news := score_news(change, products) or ocsf_news(change):
                found.append(news)
        titles = await self._titles(tenant, {opened.instance for _, opened in openings})
        for change, opened in openings:
            about = titles.get((opened.instance, opened.control_id))
            if about is not None and opened.instance in products:
                found.append(finding_news(change, opened, about, products[opened.instance]))
        return found

    async def _titles(self, tenant: str, instances: set[str]) -> Mapping[tuple[str, str], Title]:
        """What the controls of instances are called; a control that is gone meanwhile is no news any more."""
        found: dict[tuple[str, str], Title] = {}
        for instance in sorted(instances):
            picture = await self._sources.pictures.instance(tenant, instance)
            for each in picture.items if picture is not None else ():
                about = Title(each.definition.title, each.definition.severity)
                found[(instance, each.control.control_id)] = about
        return found

    # --- connections and time

    async def tell_connections(self, now: datetime) -> None:
        """Queue messages about connections that are unhealthy, or well again."""
        for tenant in await self._webhooks.tenants("connection_unhealthy"):
            await self._tell_connections(tenant, now)

    async def _tell_connections(self, tenant: str, now: datetime) -> None:
        """What an instance's newest status says, once per episode and subscriber, whenever he subscribed.

        That a connection is well again is told to those alone who were told that it was not.
        """
        known = await self._progress.conditions(tenant)
        subscribers = await self._webhooks.subscribers(tenant)
        for document in await self._sources.instances.list(tenant):
            name = document["instance"]
            if not document.get("status") or not self._ownership.owns(f"{tenant}/{name}"):
                continue
            status = InstanceStatus.model_validate_json(document["status"])
            if status.health in LEVELS:
                await self._tell_connection(tenant, status, known.get(name, Condition()), subscribers, now)

    async def _tell_connection(
        self, tenant: str, status: InstanceStatus, was: Condition, subscribers: list[Subscriber], now: datetime
    ) -> None:
        level = LEVELS[status.health]
        is_other = level != was.level
        if not is_other and not level:
            return
        news = connection_news(status, was.episode + is_other)
        was_told = [each for each in subscribers if _wants_level(each, was.level)]
        is_told = [each for each in subscribers if _wants_level(each, level)]
        recovered = [each for each in was_told if each not in is_told] if is_other else []
        await self._queue(tenant, [(each, news) for each in (*is_told, *recovered)], now)
        if is_other:
            await self._progress.turn(tenant, status.instance, was, level)

    async def tell_expiries(self, now: datetime) -> None:
        """Queue messages about decisions that end soon, once per decision and end."""
        for tenant in await self._webhooks.tenants("exception_expiring"):
            subscribers = [
                (each, each.subscription.events.exception_expiring.days)
                for each in await self._webhooks.subscribers(tenant)
                if each.subscription.events.exception_expiring
            ]
            furthest = max((days for _, days in subscribers), default=0)
            products = await self._sources.instances.names(tenant)
            for book in await self._sources.decisions.expiring(tenant, now + timedelta(days=furthest)):
                if not self._ownership.owns(tenant if book.instance is None else f"{tenant}/{book.instance}"):
                    continue
                product = products.get(book.instance or "")
                pairs = [
                    (subscriber, news)
                    for subscriber, days in subscribers
                    for news in expiring(book.instance, book.decisions, product, now, days)
                ]
                await self._queue(tenant, pairs, now)

    # --- the queue

    async def _queue(self, tenant: str, pairs: Iterable[tuple[Subscriber, News]], now: datetime) -> None:
        found = [
            self._delivery(tenant, subscriber, news, kind, now)
            for subscriber, news in pairs
            if (kind := wanted(subscriber.subscription, news)) is not None
        ]
        for delivery in await self._deliveries.enqueue(tenant, found):
            QUEUED.labels(delivery.type.value).inc()

    def _delivery(self, tenant: str, subscriber: Subscriber, news: News, kind: MessageType, now: datetime) -> Delivery:
        return Delivery(
            tenant=tenant,
            webhook_id=subscriber.subscription.webhook_id,
            message_id=message_id(tenant, kind, news.event_id),
            type=kind,
            body=body_of(kind, news.at, news.data),
            created_at=now,
            queued_at=now,
            due_at=max(now, subscriber.hold_until or now),
            keep_until=max(now, news.until or now) + self._keep,
        )


def _wants_level(subscriber: Subscriber, level: int) -> bool:
    condition = subscriber.subscription.events.connection_unhealthy
    return condition is not None and level >= LEVELS[condition.least]
