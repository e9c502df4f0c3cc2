"""The score API inside of the test's process: the projection without a broker, the application without a port."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
from plumbline_score_api import app as composition
from plumbline_score_api.app import Database, Receivers
from plumbline_score_api.findings.feed import FeedSettings, FindingEvent
from plumbline_score_api.keys.schemas import Role
from plumbline_score_api.limits import Limits
from plumbline_score_api.projection.repository import ProjectionRepository
from plumbline_score_api.projection.service import ProjectionService
from plumbline_score_api.projection.upkeep import Retention, Upkeep
from plumbline_score_api.services import Services
from plumbline_score_api.tokens.service import TokenService
from pymongo import monitoring


class Commands(monitoring.CommandListener):
    """Counts what clients of this process send to the database."""

    count = 0

    def started(self, _: monitoring.CommandStartedEvent) -> None:
        """One more."""
        self.count += 1

    def succeeded(self, _: monitoring.CommandSucceededEvent) -> None:
        """It was counted when it started."""

    def failed(self, _: monitoring.CommandFailedEvent) -> None:
        """It was counted when it started."""


COMMANDS = Commands()
monitoring.register(COMMANDS)
ALL_ROLES = frozenset(Role)
CONTROLS = ("C-1", "C-2", "C-3")


def projection_into(database: Database, repository: ProjectionRepository | None = None) -> ProjectionService:
    """What the projector does with each event, without a broker."""
    return upkeep_of(database, repository).projection


def upkeep_of(
    database: Database,
    repository: ProjectionRepository | None = None,
    *,
    stale_after: timedelta = timedelta(days=365),
    siem: "Siem | None" = None,
) -> Upkeep:
    """What the projector does between events. All keys belong to one partition; the tests' snapshots stay fresh."""
    keep = Retention(points=timedelta(days=730), days=None, changes=timedelta(days=7))
    receivers = Receivers(siem.send, siem.refuse, siem.settings) if siem is not None else None
    return composition.build_upkeep(
        database, lambda _: 0, keep, repository, stale_after=stale_after, receivers=receivers
    )


class Siem:
    """Who is told of findings. `fail` makes the next sending break before or after the broker has the events."""

    def __init__(self, settings: FeedSettings | None = None) -> None:
        self.settings = settings or FeedSettings("0.1.0")
        self.got: list[FindingEvent] = []
        self.refused: list[FindingEvent] = []
        self.fail: str | None = None

    async def send(self, tenant: str, events: Sequence[FindingEvent]) -> None:
        """As the broker does."""
        if self.fail == "before":
            raise KilledError
        assert {(each.tenant, each.event["metadata"]["tenant_uid"]) for each in events} == {(tenant, tenant)}
        self.got += events
        if self.fail == "after":
            raise KilledError

    async def refuse(self, event: FindingEvent, wrong: list[str]) -> None:
        """The dead letters."""
        self.refused.append(event)

    def told(self) -> list[tuple[str, str, int]]:
        """Control, transition and status of every event so far, which are forgotten."""
        found = [(e.control_id, e.telling.transition.value, e.event["status_id"]) for e in self.got]
        self.got.clear()
        return found


class KilledError(Exception):
    """The process ends here."""


async def _is_ready() -> bool:
    return True


def client_for(
    services: Services, key: str | None, bearers: TokenService | None = None, limits: Limits | None = None
) -> httpx.AsyncClient:
    """A client of the application, with a key or without. Bugs answer 500 as they do in the process."""
    app = composition.create_app(services, _is_ready, bearers, limits)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(transport=transport, base_url="http://score-api", headers=headers)


async def seen_by(client: httpx.AsyncClient) -> dict[str, Any]:
    """All that a client sees."""
    page = (await client.get("/v1/recommendations", params={"limit": 500})).raise_for_status().json()
    details = []
    for item in page["items"]:
        path = f"/v1/recommendations/{item['instance']}/{item['control_id']}"
        details.append((await client.get(path)).raise_for_status().json())
    answers = [(await client.get(path)).raise_for_status().json() for path in ("/v1/secure-score", "/v1/instances")]
    return {"recommendations": page, "details": details, "score": answers[0], "instances": answers[1]}
