"""Webhooks in MongoDB: subscriptions with their secrets, deliveries, and how far the change log was read.

A delivery is written under the id of its message, so that writing it again changes nothing. Who sends one claims it
first: a claim is a lease, after which anybody may send it again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import DuplicateKeyError

from plumbline_score_api.webhooks.messages import MessageType
from plumbline_score_api.webhooks.schemas import Attempt, Delivery, DeliveryState
from plumbline_score_api.webhooks.subscription import Secret, Subscriber, Subscription

Document = dict[str, Any]
WRITES_AT_ONCE = 200
MOST_ATTEMPTS_KEPT = 20


class WebhookRepository:
    """The collection `webhooks`."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._webhooks = database["webhooks"]

    async def prepare(self) -> None:
        """Create the indexes; does nothing when they are there."""
        await self._webhooks.create_index([("tenant", 1), ("created_at", 1)])
        await self._webhooks.create_index([("is_enabled", 1), ("kinds", 1)])

    async def of_tenant(self, tenant: str) -> list[Subscription]:
        """The tenant's subscriptions, the oldest first."""
        found = self._webhooks.find({"tenant": tenant}, {"body": 1}).sort([("created_at", 1), ("_id", 1)])
        return [Subscription.model_validate_json(document["body"]) async for document in found]

    async def find(self, tenant: str, webhook_id: str) -> Subscription | None:
        """One subscription."""
        document = await self._webhooks.find_one({"_id": f"{tenant}/{webhook_id}", "tenant": tenant}, {"body": 1})
        return Subscription.model_validate_json(document["body"]) if document else None

    async def insert(
        self, tenant: str, subscription: Subscription, secret: Secret, heard_from: Mapping[int, int]
    ) -> None:
        """Keep a new one. It hears of what is written to a partition of the change log behind the number given."""
        heard = {str(partition): number for partition, number in heard_from.items()}
        document = {
            "tenant": tenant,
            "secrets": [_secret(secret)],
            "rotations": 0,
            "heard_from": heard,
            **_fields(subscription),
        }
        await self._webhooks.insert_one({"_id": f"{tenant}/{subscription.webhook_id}", **document})

    async def replace(self, tenant: str, known: Subscription, new: Subscription) -> bool:
        """Write what a subscription is now if nobody did since `known`; whether it was done.

        The rest that a target wanted is over when there is another target.
        """
        mine = {"_id": f"{tenant}/{known.webhook_id}", "tenant": tenant, "revision": known.revision}
        rest = {"hold_until": None} if new.url != known.url else {}
        return bool((await self._webhooks.update_one(mine, {"$set": _fields(new) | rest})).matched_count)

    async def delete(self, tenant: str, webhook_id: str) -> bool:
        """Delete one with its secrets; whether there was one."""
        mine = {"_id": f"{tenant}/{webhook_id}", "tenant": tenant}
        return bool((await self._webhooks.delete_one(mine)).deleted_count)

    async def secrets(self, tenant: str, webhook_id: str) -> tuple[int, list[Secret]]:
        """How often its secret was replaced, and the secrets, the newest first; none when it is gone."""
        fields = {"secrets": 1, "rotations": 1}
        document = await self._webhooks.find_one({"_id": f"{tenant}/{webhook_id}", "tenant": tenant}, fields)
        if document is None:
            return 0, []
        return document["rotations"], [Secret(each["text"], each["expires_at"]) for each in document["secrets"]]

    async def rotate(self, tenant: str, webhook_id: str, rotations: int, secrets: Sequence[Secret]) -> bool:
        """Write the secrets if nobody replaced one since; whether it was done."""
        mine = {"_id": f"{tenant}/{webhook_id}", "tenant": tenant, "rotations": rotations}
        change = {"secrets": [_secret(each) for each in secrets], "rotations": rotations + 1}
        return bool((await self._webhooks.update_one(mine, {"$set": change})).matched_count)

    async def subscriber(self, tenant: str, webhook_id: str) -> Subscriber | None:
        """One, for a delivery."""
        mine = {"_id": f"{tenant}/{webhook_id}", "tenant": tenant}
        document = await self._webhooks.find_one(mine, {"secrets": 0})
        return _subscriber(document) if document else None

    async def subscribers(self, tenant: str) -> list[Subscriber]:
        """The tenant's that are enabled."""
        found = self._webhooks.find({"tenant": tenant, "is_enabled": True}, {"secrets": 0})
        return [_subscriber(document) async for document in found]

    async def tenants(self, kind: str | None = None) -> list[str]:
        """Who has enabled ones, that want news of a kind if one is given: for the projector alone."""
        query = {"is_enabled": True} | ({"kinds": kind} if kind is not None else {})
        return sorted(await self._webhooks.distinct("tenant", query))

    async def delivered(self, tenant: str, webhook_id: str, at: datetime) -> None:
        """Something got through."""
        mine = {"_id": f"{tenant}/{webhook_id}", "tenant": tenant}
        await self._webhooks.update_one(mine, {"$set": {"delivered_at": at}})

    async def hold(self, tenant: str, webhook_id: str, until: datetime) -> None:
        """The target wants rest until then."""
        mine = {"_id": f"{tenant}/{webhook_id}", "tenant": tenant}
        await self._webhooks.update_one(mine, {"$set": {"hold_until": until}})


class DeliveryRepository:
    """The collection `webhook_deliveries`."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._deliveries = database["webhook_deliveries"]

    async def prepare(self) -> None:
        """Create the indexes; does nothing when they are there."""
        await self._deliveries.create_index([("state", 1), ("due_at", 1)])
        await self._deliveries.create_index([("state", 1), ("created_at", 1)])
        await self._deliveries.create_index([("tenant", 1), ("webhook_id", 1), ("created_at", -1), ("message_id", -1)])
        await self._deliveries.create_index([("keep_until", 1)])

    async def enqueue(self, tenant: str, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Keep deliveries that are not there yet; which ones those were."""
        added: list[Delivery] = []
        for start in range(0, len(deliveries), WRITES_AT_ONCE):
            some = deliveries[start : start + WRITES_AT_ONCE]
            names = [_identity(tenant, each.webhook_id, each.message_id) for each in some]
            writes = [
                UpdateOne({"_id": name}, {"$setOnInsert": _stored(each)}, upsert=True)
                for name, each in zip(names, some, strict=True)
            ]
            done = await self._deliveries.bulk_write(writes, ordered=False)
            added += [some[number] for number in done.upserted_ids or {}]
        return added

    async def page(
        self,
        tenant: str,
        webhook_id: str,
        states: Sequence[DeliveryState],
        types: Sequence[MessageType],
        after: tuple[datetime, str] | None,
        limit: int,
    ) -> list[Delivery]:
        """A subscription's deliveries, the newest first, those behind the moment and id of `after`."""
        query: Document = {"tenant": tenant, "webhook_id": webhook_id}
        query |= {"state": {"$in": list(states)}} if states else {}
        query |= {"type": {"$in": list(types)}} if types else {}
        if after is not None:
            at, name = after
            query["$or"] = [{"created_at": {"$lt": at}}, {"created_at": at, "message_id": {"$lt": name}}]
        found = self._deliveries.find(query).sort([("created_at", -1), ("message_id", -1)]).limit(limit)
        return [_delivery(document) async for document in found]

    async def find(self, tenant: str, webhook_id: str, message_id: str) -> Delivery | None:
        """One delivery."""
        mine = {"_id": _identity(tenant, webhook_id, message_id), "tenant": tenant}
        document = await self._deliveries.find_one(mine)
        return _delivery(document) if document else None

    async def count(self, tenant: str, webhook_id: str, kind: MessageType) -> int:
        """How many pending ones of a type a subscription has."""
        mine = {"tenant": tenant, "webhook_id": webhook_id, "type": kind, "state": DeliveryState.PENDING}
        return await self._deliveries.count_documents(mine)

    async def queue_again(self, tenant: str, delivery: Delivery, now: datetime, keep_until: datetime) -> bool:
        """Queue one that is not being sent, for a person; whether it was done."""
        mine = {"_id": _identity(tenant, delivery.webhook_id, delivery.message_id), "tenant": tenant}
        idle = [{"claim": None}, {"due_at": {"$lte": now}}]
        change = {
            "state": DeliveryState.PENDING, "due_at": now, "queued_at": now, "attempts": 0, "is_manual": True,
            "claim": None, "keep_until": max(keep_until, delivery.keep_until),
        }  # fmt: skip
        return bool((await self._deliveries.update_one({**mine, "$or": idle}, {"$set": change})).matched_count)

    async def due(
        self, now: datetime, limit: int, *, but_tenants: Iterable[str], but_webhooks: Iterable[str]
    ) -> list[Delivery]:
        """What is to be sent, the longest due first, all tenants': for the projector alone.

        Left out is what belongs to some tenants, or to some subscriptions, named `tenant/webhook`.
        """
        query = {
            "state": DeliveryState.PENDING,
            "due_at": {"$lte": now},
            "tenant": {"$nin": list(but_tenants)},
            "target": {"$nin": list(but_webhooks)},
        }
        found = self._deliveries.find(query).sort("due_at", 1).limit(limit)
        return [_delivery(document) async for document in found]

    async def claim(self, tenant: str, delivery: Delivery, claim: str, until: datetime) -> Delivery | None:
        """Take one that is due, until `until`; None when somebody else was first."""
        mine = {
            "_id": _identity(tenant, delivery.webhook_id, delivery.message_id),
            "tenant": tenant,
            "state": DeliveryState.PENDING,
            "due_at": delivery.due_at,
        }
        change = {"$set": {"claim": claim, "due_at": until}, "$inc": {"attempts": 1}}
        document = await self._deliveries.find_one_and_update(mine, change, return_document=ReturnDocument.AFTER)
        return _delivery(document) if document else None

    async def conclude(
        self, tenant: str, delivery: Delivery, state: DeliveryState, due_at: datetime, attempt: Attempt | None
    ) -> bool:
        """Write what an attempt came to; whether the claim still stood. A pending one is due again then."""
        mine = {
            "_id": _identity(tenant, delivery.webhook_id, delivery.message_id),
            "tenant": tenant,
            "claim": delivery.claim,
        }
        log = [*delivery.log, attempt] if attempt is not None else list(delivery.log)
        told = [each.model_dump() for each in log[-MOST_ATTEMPTS_KEPT:]]
        change = {"state": state, "due_at": due_at, "claim": None, "log": told}
        return bool((await self._deliveries.update_one(mine, {"$set": change})).matched_count)

    async def hold(self, tenant: str, webhook_id: str, until: datetime) -> None:
        """Nothing of a subscription is due before then, but what is being sent."""
        mine = {"tenant": tenant, "webhook_id": webhook_id, "state": DeliveryState.PENDING, "claim": None}
        await self._deliveries.update_many({**mine, "due_at": {"$lt": until}}, {"$set": {"due_at": until}})

    async def forget(self, tenant: str, webhook_id: str) -> None:
        """Delete all of a subscription."""
        await self._deliveries.delete_many({"tenant": tenant, "webhook_id": webhook_id})

    async def queue(self) -> tuple[int, datetime | None]:
        """How many are pending, and when the oldest was queued, over all tenants: for measurements."""
        mine = {"state": DeliveryState.PENDING}
        oldest = self._deliveries.find(mine, {"created_at": 1}).sort("created_at", 1).limit(1)
        moments: list[datetime] = [document["created_at"] async for document in oldest]
        return await self._deliveries.count_documents(mine), min(moments, default=None)

    async def prune(self, now: datetime) -> None:
        """Delete what was kept long enough, and is not pending, of all tenants."""
        await self._deliveries.delete_many({"keep_until": {"$lt": now}, "state": {"$ne": DeliveryState.PENDING}})


@dataclass(frozen=True)
class Condition:
    """How a connection was when that was last told: its level, and the number of the episode."""

    level: int = 0
    episode: int = 0


class ProgressRepository:
    """The collections `webhook_cursors` and `webhook_connections`: what was told already."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._cursors, self._connections = database["webhook_cursors"], database["webhook_connections"]

    async def cursor(self, partition: int) -> int:
        """Up to which number a partition of the change log was read."""
        document = await self._cursors.find_one({"_id": partition})
        found: int = document["number"] if document else 0
        return found

    async def advance(self, partition: int, number: int) -> None:
        """A partition was read up to a number; a smaller one changes nothing."""
        try:
            behind = {"_id": partition, "number": {"$not": {"$gte": number}}}
            await self._cursors.update_one(behind, {"$set": {"number": number}}, upsert=True)
        except DuplicateKeyError:
            return  # another replica has read as far

    async def conditions(self, tenant: str) -> dict[str, Condition]:
        """How the tenant's connections were, by instance."""
        found = self._connections.find({"tenant": tenant})
        return {d["instance"]: Condition(d["level"], d["episode"]) async for d in found}

    async def turn(self, tenant: str, instance: str, known: Condition, level: int) -> None:
        """A connection is otherwise from now on, unless another replica has said so."""
        then = {"episode": known.episode} if known.episode else {"episode": {"$exists": False}}
        new = {"tenant": tenant, "instance": instance, "level": level, "episode": known.episode + 1}
        try:
            mine = {"_id": f"{tenant}/{instance}", **then}
            await self._connections.update_one(mine, {"$set": new}, upsert=not known.episode)
        except DuplicateKeyError:
            return


def _identity(tenant: str, webhook_id: str, message_id: str) -> str:
    return f"{tenant}/{webhook_id}/{message_id}"


def _secret(secret: Secret) -> Document:
    return {"text": secret.text, "expires_at": secret.expires_at}


def _fields(subscription: Subscription) -> Document:
    return {
        "body": subscription.model_dump_json(),
        "revision": subscription.revision,
        "created_at": subscription.created_at,
        "is_enabled": subscription.is_enabled,
        "kinds": subscription.events.kinds,
    }


def _subscriber(document: Document) -> Subscriber:
    return Subscriber(
        subscription=Subscription.model_validate_json(document["body"]),
        heard_from=document["heard_from"],
        hold_until=document.get("hold_until"),
        delivered_at=document.get("delivered_at"),
    )


def _stored(delivery: Delivery) -> Document:
    return {**delivery.model_dump(mode="python"), "log": [], "target": f"{delivery.tenant}/{delivery.webhook_id}"}


def _delivery(document: Document) -> Delivery:
    return Delivery.model_validate({name: value for name, value in document.items() if name not in ("_id", "target")})
