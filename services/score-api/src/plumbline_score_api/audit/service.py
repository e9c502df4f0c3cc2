"""The audit trail as people read it."""

from plumbline_score_api.audit.repository import AuditRepository
from plumbline_score_api.audit.schemas import AuditPage, AuditQuery
from plumbline_score_api.recommendations import cursors


class AuditService:
    """The audit trail of one tenant."""

    def __init__(self, repository: AuditRepository) -> None:
        self._repository = repository

    async def page(self, tenant: str, query: AuditQuery) -> AuditPage:
        """A page, the newest first. Raises InvalidError for a bad cursor."""
        filters = {
            "action": [action.value for action in query.action],
            "instance": query.instance,
            "control_id": query.control,
            "who": query.who,
        }
        scope = f"audit of {tenant} {filters} {query.since} {query.until}"
        after = str(cursors.decode(query.cursor, scope, str)[0]) if query.cursor else None
        found = await self._repository.page(tenant, filters, query.since, query.until, after, query.limit + 1)
        shown = found[: query.limit]
        return AuditPage(
            items=[entry for _, entry in shown],
            next_cursor=cursors.encode(scope, shown[-1][0]) if len(found) > query.limit else None,
        )
