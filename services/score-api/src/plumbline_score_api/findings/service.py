"""Events of findings for SIEMs that ask, from the change log: what a cursor has passed, nobody has missed."""

from collections.abc import Mapping
from datetime import datetime

from plumbline_score_api.changes.changes import Change, ChangeKind
from plumbline_score_api.changes.repository import ChangeLogRepository
from plumbline_score_api.events.cursors import Seal
from plumbline_score_api.events.feed import Feed
from plumbline_score_api.findings.schemas import FindingPage, FindingQuery
from plumbline_score_api.problems import BadRequestError, InvalidError


class FindingService:
    """Pages of one tenant's events. `feed` has the seal of cursors."""

    def __init__(self, changes: ChangeLogRepository, feed: Feed) -> None:
        self._changes, self._feed = changes, feed

    async def page(self, tenant: str, query: FindingQuery) -> FindingPage:
        """The next events. Raises InvalidError for a cursor that is not the tenant's."""
        seal = await self._feed.seal()
        end = await self._changes.heads()
        if query.cursor is not None:
            position = _opened(seal, tenant, query.cursor)
            is_cut = await self._lacks(position)
        else:
            position, is_cut = await self._start(query.since, end)
        items: list[Change] = []
        has_more = False
        for partition, last in sorted(end.items()):
            left = query.limit - len(items)
            found = await self._changes.of_kind(
                tenant, partition, ChangeKind.COMPLIANCE_FINDING, position.get(partition, 0), last, left + 1
            )
            items += [change for _, change in found[:left] if _is_wanted(change, query)]
            if len(found) > left:
                has_more = True
                position |= {partition: found[left - 1][0]} if left else {}
            else:
                position[partition] = max(last, position.get(partition, 0))
        cursor = seal.close(tenant, position)
        return FindingPage(items=[each.data for each in items], next_cursor=cursor, has_more=has_more, is_cut=is_cut)

    async def _start(self, since: datetime | None, end: Mapping[int, int]) -> tuple[dict[int, int], bool]:
        """Where to begin without a cursor, and whether some of what is asked for is no longer kept."""
        if since is None:
            return {}, False
        found = {partition: await self._changes.first(partition, since) for partition in end}
        deleted = (await self._changes.deleted()).values()
        position = {name: end[name] if number is None else number - 1 for name, number in found.items()}
        return position, any(each.written_at >= since for each in deleted)

    async def _lacks(self, position: Mapping[int, int]) -> bool:
        """Whether entries behind a position have been deleted."""
        deleted = await self._changes.deleted()
        return any(each.number > position.get(partition, 0) for partition, each in deleted.items())


def _opened(seal: Seal, tenant: str, cursor: str) -> dict[int, int]:
    try:
        return seal.open(tenant, cursor)
    except BadRequestError as error:
        raise InvalidError("The cursor is not one of ours; start again without it.") from error


def _is_wanted(change: Change, query: FindingQuery) -> bool:
    return (not query.instance or change.instance in query.instance) and (
        not query.control or change.control_id in query.control
    )
