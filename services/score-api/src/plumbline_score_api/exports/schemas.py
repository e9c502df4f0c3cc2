"""What an export is asked for by."""

from pydantic import ConfigDict, Field

from plumbline_score_api.audit.schemas import AuditFilters
from plumbline_score_api.exports.lines import Format
from plumbline_score_api.history.schemas import HistoryRange, ScopeOfHistory
from plumbline_score_api.moments import Moment
from plumbline_score_api.recommendations.filters import Filters
from plumbline_score_api.recommendations.selection import Sort

_FORMAT = Field(default=Format.CSV, description="CSV with a header row, or one JSON object per line")


class RecommendationExport(Filters):
    """The filters and the order of the list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sort: Sort = Sort.RANK
    format: Format = _FORMAT


class ExposedExport(Filters):
    """The recommendations whose exposed entities are wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Format = _FORMAT


class HistoryExport(HistoryRange):
    """Scope, range and resolution."""

    format: Format = _FORMAT


class ChangesExport(ScopeOfHistory):
    """Scope and range."""

    since: Moment | None = Field(default=None, description="Default: 90 days before `until`")
    until: Moment | None = Field(default=None, description="Default: now")
    format: Format = _FORMAT


class AuditExport(AuditFilters):
    """The filters of the audit trail."""

    format: Format = _FORMAT


def filters_of(query: Filters) -> Filters:
    """The filters alone."""
    return Filters.model_validate(query.model_dump(include=set(Filters.model_fields)))
