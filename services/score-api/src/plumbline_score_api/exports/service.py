"""Exports of one tenant: records as they are read, and files made of them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from plumbline_contracts.events import ExposedEntity
from pydantic import TypeAdapter

from plumbline_score_api.audit.schemas import AuditFilters, AuditQuery
from plumbline_score_api.audit.service import AuditService
from plumbline_score_api.exports import records
from plumbline_score_api.exports.download import Chunks, Download
from plumbline_score_api.exports.lines import Format, Record, head, line_of
from plumbline_score_api.exports.oscal import assessment_results
from plumbline_score_api.exports.repository import ExportRepository
from plumbline_score_api.exports.schemas import (
    AuditExport,
    ChangesExport,
    ExposedExport,
    HistoryExport,
    RecommendationExport,
    filters_of,
)
from plumbline_score_api.exports.slots import Slots
from plumbline_score_api.history.schemas import HistoryPoint, HistoryQuery, HistoryRange, Resolution
from plumbline_score_api.history.service import HistoryService
from plumbline_score_api.pictures.picture import Recommendation
from plumbline_score_api.pictures.service import PictureService
from plumbline_score_api.pictures.tenant import TenantPicture
from plumbline_score_api.problems import NotFoundError, UnavailableError
from plumbline_score_api.recommendations.filters import Filters
from plumbline_score_api.recommendations.repository import RecommendationRepository
from plumbline_score_api.recommendations.selection import matcher, select

CHUNK_BYTES = 64 * 1024
POINTS_AT_ONCE = 50
ENTRIES_AT_ONCE = 500
ATTEMPTS = 10
Records = AsyncGenerator[Record, None]
_ENTITIES = TypeAdapter(list[ExposedEntity])


class ReplacedError(Exception):
    """An evaluation was replaced twice, and its exposed entities deleted, while they were being sent."""


class ExportService:
    """What a tenant may take away."""

    def __init__(
        self,
        findings: ExportRepository,
        repository: RecommendationRepository,
        pictures: PictureService,
        history: HistoryService,
        audit: AuditService,
        slots: Slots,
    ) -> None:
        self._findings, self._repository, self._pictures = findings, repository, pictures
        self._history, self._audit, self._slots = history, audit, slots

    async def recommendations(self, tenant: str, query: RecommendationExport) -> Download:
        """All recommendations that match, as they stand at this moment. Raises NotFoundError, TooManyError."""
        found = self._ranked(await self._chosen(tenant, query), query)
        return await self._file(tenant, "recommendations", query.format, records.RECOMMENDATIONS, found)

    async def exposed(self, tenant: str, query: ExposedExport) -> Download:
        """The exposed entities of all recommendations that match. Raises NotFoundError, TooManyError."""
        chosen = await self._chosen(tenant, query)
        names = sorted(name for name in chosen.instances if not query.instance or name in query.instance)
        found = self._entities(tenant, names, filters_of(query))
        return await self._file(tenant, "exposed-entities", query.format, records.EXPOSED, found)

    async def history(self, tenant: str, query: HistoryExport) -> Download:
        """Points of a range. Raises NotFoundError, InvalidError, TooManyError."""
        found = self._pointed(tenant, query)
        return await self._file(tenant, "history", query.format, records.HISTORY, found)

    async def changes(self, tenant: str, query: ChangesExport) -> Download:
        """What changed in a range, one record each. Raises NotFoundError, InvalidError, TooManyError."""
        asked = HistoryRange.model_validate({**query.model_dump(exclude={"format"}), "resolution": Resolution.CHANGE})
        return await self._file(tenant, "history-changes", query.format, records.CHANGES, self._changed(tenant, asked))

    async def audit(self, tenant: str, query: AuditExport) -> Download:
        """The audit trail, the newest first. Raises TooManyError."""
        found = self._told(tenant, query)
        return await self._file(tenant, "audit", query.format, records.AUDIT, found)

    async def oscal(self, tenant: str, instance: str) -> dict[str, Any]:
        """The current evaluation of an instance as OSCAL assessment results. Raises NotFoundError, UnavailableError."""
        for _ in range(ATTEMPTS):
            picture = await self._pictures.instance(tenant, instance)
            if picture is None:
                raise NotFoundError(f"No instance {instance} is connected.")
            if picture.version.evaluation is None:
                raise NotFoundError(f"The instance {instance} has not been evaluated yet.")
            found = await self._findings.results(tenant, instance, picture.version.evaluation)
            if len(found) >= len(picture.items):
                return assessment_results(tenant, picture, found)
        raise UnavailableError(f"The instance {instance} changes faster than it can be read; try again.")

    # --- records

    async def _chosen(self, tenant: str, filters: Filters) -> TenantPicture:
        """The tenant's picture, which has every instance that is named. Raises NotFoundError."""
        picture = await self._pictures.tenant(tenant)
        for name in filters.instance:
            if name not in picture.instances:
                raise NotFoundError(f"No instance {name} is connected.")
        return picture

    async def _ranked(self, picture: TenantPicture, query: RecommendationExport) -> Records:
        found = select(picture, filters_of(query), query.sort)
        for item, rank in zip(found.items, found.ranks, strict=True):
            yield records.of_recommendation(item, rank)

    async def _entities(self, tenant: str, instances: Sequence[str], filters: Filters) -> Records:
        """By instance, then control. Each recommendation is taken as it is when its turn comes."""
        is_wanted = matcher(filters)
        for instance in instances:
            picture = await self._pictures.instance(tenant, instance)
            items = [i for i in picture.items if i.control.exposed_listed and is_wanted(i)] if picture else []
            for item in sorted(items, key=lambda each: each.control.control_id):
                async with aclosing(self._of_item(tenant, item)) as found:
                    async for record in found:
                        yield record

    async def _of_item(self, tenant: str, item: Recommendation) -> Records:
        """The exposed entities of one control, all of one evaluation: the newer one when this is gone already.

        Raises ReplacedError.
        """
        for _ in range(ATTEMPTS):
            sent = 0
            async for entity in self._listed(tenant, item):
                sent += 1
                yield records.of_entity(item, entity)
            if sent >= item.control.exposed_listed:
                return
            now = await self._now(tenant, item)
            is_same = now is not None and now.evaluation == item.evaluation
            if is_same or not (sent or now):
                return
            if sent or now is None:
                break
            item = now
        raise ReplacedError(f"{item.instance} was evaluated again while {item.control.control_id} was being read")

    async def _listed(self, tenant: str, item: Recommendation) -> AsyncIterator[ExposedEntity]:
        """In batches, each read when the one before was sent."""
        number = 0
        names = (tenant, item.instance, item.evaluation, item.control.control_id)
        while (stored := await self._repository.exposed(*names, number)) is not None:
            for entity in _ENTITIES.validate_json(stored["body"]):
                yield entity
            number += 1

    async def _now(self, tenant: str, item: Recommendation) -> Recommendation | None:
        picture = await self._pictures.instance(tenant, item.instance)
        return picture.find(item.control.control_id) if picture is not None else None

    async def _pointed(self, tenant: str, query: HistoryRange) -> Records:
        async with aclosing(self._points(tenant, query)) as points:
            async for point in points:
                yield records.of_point(point)

    async def _changed(self, tenant: str, query: HistoryRange) -> Records:
        async with aclosing(self._points(tenant, query)) as points:
            async for point in points:
                for record in records.of_changes(point):
                    yield record

    async def _points(self, tenant: str, query: HistoryRange) -> AsyncGenerator[HistoryPoint, None]:
        """All points of a range, which ends now at the latest, whatever comes meanwhile."""
        fixed = {name: getattr(query, name) for name in HistoryRange.model_fields}
        now = datetime.now(UTC)
        fixed["until"] = min(query.until or now, now)
        cursor = None
        while True:
            page = await self._history.page(tenant, HistoryQuery(**fixed, limit=POINTS_AT_ONCE, cursor=cursor))
            for point in page.items:
                yield point
            if (cursor := page.next_cursor) is None:
                return

    async def _told(self, tenant: str, query: AuditFilters) -> Records:
        fixed = {name: getattr(query, name) for name in AuditFilters.model_fields}
        cursor = None
        while True:
            page = await self._audit.page(tenant, AuditQuery(**fixed, limit=ENTRIES_AT_ONCE, cursor=cursor))
            for entry in page.items:
                yield records.of_entry(entry)
            if (cursor := page.next_cursor) is None:
                return

    # --- files

    async def _file(self, tenant: str, what: str, form: Format, columns: Sequence[str], found: Records) -> Download:
        """A file of records. What fails before the first chunk is whole is a problem, and no file at all."""
        with contextlib.ExitStack() as stack:
            release = self._slots.take(tenant)
            stack.callback(release)
            chunks = _chunks(form, columns, found)
            first = await anext(chunks)
            stack.pop_all()
        name = f"plumbline-{tenant}-{what}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{form.value}"
        return Download(what, name, form.media_type, first, chunks, release)


async def _chunks(form: Format, columns: Sequence[str], found: Records) -> Chunks:
    """The lines in chunks; the first one, with the header row, always comes."""
    line, parts = line_of(form, columns), [head(form, columns)]
    size = 0
    async with aclosing(found):
        async for record in found:
            parts.append(line(record))
            size += len(parts[-1])
            if size >= CHUNK_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
                await asyncio.sleep(0)  # others get their turn even while the client takes all at once
    yield b"".join(parts)
