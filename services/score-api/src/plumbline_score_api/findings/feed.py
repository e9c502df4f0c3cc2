"""Writes out what waits to be told of findings, checks it, and hands it on."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog
from plumbline_contracts.events import Insights, Product
from prometheus_client import Counter

from plumbline_score_api.decisions.decision import Decision
from plumbline_score_api.findings.definitions import Json
from plumbline_score_api.findings.facts import Facts, InstanceFacts
from plumbline_score_api.findings.lifecycle import Options
from plumbline_score_api.findings.ocsf import write
from plumbline_score_api.findings.repository import FindingRepository
from plumbline_score_api.findings.state import DECIDED, Standing, Telling
from plumbline_score_api.findings.told import Told
from plumbline_score_api.findings.validation import problems
from plumbline_score_api.pictures.service import PictureService

log = structlog.get_logger(__name__)

TOLD = Counter("plumbline_score_api_finding_events_total", "Events of findings that were sent", ["transition"])
REFUSED = Counter(
    "plumbline_score_api_finding_events_refused_total",
    "Events of findings that broke their own contract and went to the dead letters",
)


@dataclass(frozen=True)
class FindingEvent:
    """One event, and the record that it is sent as."""

    tenant: str
    instance: str
    control_id: str
    telling: Telling
    event: Json
    record: bytes


_DECIDED = frozenset(DECIDED.values()) - {Standing.TO_ADDRESS}
Send = Callable[[str, Sequence[FindingEvent]], Awaitable[None]]
"""Sends events of a tenant, in order per finding; returns when the broker has them all."""
Refuse = Callable[[FindingEvent, list[str]], Awaitable[None]]
"""Brings an event that must not be sent to the dead letters, with what is wrong with it."""


@dataclass(frozen=True)
class FeedSettings:
    """What an operator chose: `names_are_allowed` lets personal names travel, `api_url` is where people follow up."""

    product_version: str
    options: Options = field(default_factory=Options)
    names_are_allowed: bool = False
    api_url: str | None = None


class FindingFeed:
    """Tells what waits. What it is told of is read once more: nothing of it is kept in memory."""

    def __init__(
        self,
        repository: FindingRepository,
        pictures: PictureService,
        send: Send,
        refuse: Refuse,
        settings: FeedSettings,
    ) -> None:
        self._repository, self._pictures, self._send, self._refuse = repository, pictures, send, refuse
        self.settings = settings

    async def written(self, tenant: str, instance: str, product: Product, told: Told) -> list[FindingEvent]:
        """The events that wait, in order. Those that break the contract go to the dead letters instead."""
        controls = [_control(each) for each in told.waiting]
        exposing = [name for name in controls if told.states[name].exposed]
        context = await self._repository.context(tenant, instance, told.evaluation, controls, exposing)
        keys = {name: f"{name}@{told.digests[name]}" for name in controls if name in told.digests}
        definitions = await self._pictures.definitions(keys.values())
        decisions = await self._decisions(tenant, instance, told)
        place = InstanceFacts(instance, product, context.url, insights=told.insights or Insights.OFF)
        found = []
        for name, telling in zip(controls, told.waiting, strict=True):
            definition = definitions.get(keys.get(name, ""))
            if definition is None:
                log.error("a finding cannot be told: its control is not in the catalogue any more", control=name)
                REFUSED.inc()
                continue
            facts = Facts(
                tenant=tenant,
                instance=place,
                definition=definition,
                result=context.results.get(name),
                product_version=self.settings.product_version,
                evaluation_id=context.evaluation_id,
                snapshot_id=context.snapshot_id,
                entities=context.entities.get(name, ()),
                decision=decisions.get(name),
                api_url=self.settings.api_url,
                names_are_allowed=self.settings.names_are_allowed,
            )
            event, record = write(telling, facts)
            made = FindingEvent(tenant, instance, name, telling, event, record)
            if wrong := problems(event, record):
                await self._divert(made, wrong)
            else:
                found.append(made)
        return found

    async def _decisions(self, tenant: str, instance: str, told: Told) -> dict[str, Decision]:
        """The decisions that hold, by control id, where one is told of."""
        if not any(each.standing in _DECIDED for each in told.waiting):
            return {}
        picture = await self._pictures.instance(tenant, instance)
        items = picture.items if picture is not None else ()
        return {i.control.control_id: i.decision for i in items if i.decision is not None and i.decision.holds}

    async def send(self, tenant: str, events: Sequence[FindingEvent]) -> None:
        """Send events; returns when the broker has them all. Sending them again repeats their uids."""
        if events:
            await self._send(tenant, events)
        for each in events:
            TOLD.labels(each.telling.transition.value).inc()

    async def _divert(self, made: FindingEvent, wrong: list[str]) -> None:
        REFUSED.inc()
        finding = made.telling.finding
        log.error("an event breaks its own contract and is not sent", finding=finding, problem="; ".join(wrong))
        await self._refuse(made, wrong)


def _control(telling: Telling) -> str:
    return telling.finding.rpartition("|")[2]
