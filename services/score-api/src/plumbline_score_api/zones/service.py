"""Reads and sets where a tenant's zones begin."""

from collections.abc import Callable
from datetime import UTC, datetime

from plumbline_contracts import ids

from plumbline_score_api.audit.repository import AuditRepository
from plumbline_score_api.audit.schemas import Action, AuditEntry, Author
from plumbline_score_api.problems import ConflictError, PreconditionFailedError
from plumbline_score_api.zones.repository import Setting, ZoneRepository
from plumbline_score_api.zones.schemas import Chosen, ZonesBody, ZonesView
from plumbline_score_api.zones.zone import DEFAULT_LIMITS, ZoneLimits

ATTEMPTS = 10
IsWanted = Callable[[ZonesView], bool]


class ZoneService:
    """Zones of all tenants."""

    def __init__(self, repository: ZoneRepository, audit: AuditRepository) -> None:
        self._repository, self._audit = repository, audit

    async def limits(self, tenant: str) -> ZoneLimits:
        """Where the tenant's zones begin."""
        return _limits(await self._repository.read(tenant))

    async def view(self, tenant: str) -> ZonesView:
        """The same with who set it."""
        return ZonesView.of((await self._repository.read(tenant)).chosen)

    async def choose(
        self, tenant: str, who: Author, body: ZonesBody | None, is_wanted: IsWanted = lambda _: True
    ) -> ZonesView:
        """Set the limits; with no body, go back to the default. Saying again what stands changes nothing.

        Raises ConflictError, and PreconditionFailedError when what stands is not wanted.
        """
        for _ in range(ATTEMPTS):
            known = await self._repository.read(tenant)
            if not is_wanted(ZonesView.of(known.chosen)):
                raise PreconditionFailedError("The zones are not those you know; read them again.")
            chosen = _chosen(known.chosen, body, who)
            if chosen == known.chosen:
                return ZonesView.of(chosen)
            if await self._repository.replace(tenant, known, chosen, [_entry(who, known, chosen, body)]):
                await self.tell(tenant)
                return ZonesView.of(chosen)
        raise ConflictError("The zones are being changed by others; try again.")

    async def tell(self, tenant: str) -> None:
        """Bring the audit entries that wait with the limits to the audit trail."""
        known = await self._repository.read(tenant)
        await self._audit.add(tenant, known.outbox)
        await self._repository.told(tenant, known.revision)


def _limits(setting: Setting) -> ZoneLimits:
    return setting.chosen.limits if setting.chosen is not None else DEFAULT_LIMITS


def _chosen(known: Chosen | None, body: ZonesBody | None, who: Author) -> Chosen | None:
    if body is None:
        return None
    is_same = known is not None and known.limits == body.limits
    return known if is_same else Chosen(limits=body.limits, by=who.name, at=datetime.now(UTC))


def _entry(who: Author, known: Setting, chosen: Chosen | None, body: ZonesBody | None) -> AuditEntry:
    return AuditEntry(
        entry_id=ids.random_id(),
        at=datetime.now(UTC),
        who=who.name,
        identity=who.identity,
        action=Action.ZONES_SET if chosen is not None else Action.ZONES_CLEARED,
        before=_told(_limits(known)),
        after=_told(chosen.limits if chosen is not None else DEFAULT_LIMITS),
        note=body.note if body is not None else None,
    )


def _told(limits: ZoneLimits) -> str:
    return f"fair from {limits.fair_from:g} %, good from {limits.good_from:g} %"
