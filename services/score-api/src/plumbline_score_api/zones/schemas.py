"""Bodies and answers about zones."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from plumbline_score_api.texts import Text
from plumbline_score_api.zones.zone import DEFAULT_LIMITS, ZoneLimits


class ZonesBody(ZoneLimits):
    """Where the zones of this tenant begin."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"fair_from": 55, "good_from": 85}]}
    )

    note: Text | None = Field(default=None, description="Why; it stands in the audit trail")

    @property
    def limits(self) -> ZoneLimits:
        """The limits alone."""
        return ZoneLimits(fair_from=self.fair_from, good_from=self.good_from)


class Chosen(BaseModel):
    """Limits that somebody set."""

    model_config = ConfigDict(frozen=True)

    limits: ZoneLimits
    by: str
    at: datetime


class ZonesView(BaseModel):
    """Where the zones begin, and who said so."""

    fair_from: float
    good_from: float
    is_default: bool = Field(description="Whether nobody has set them")
    set_by: str | None
    set_at: datetime | None

    @classmethod
    def of(cls, chosen: Chosen | None) -> "ZonesView":
        """What was chosen as it is shown; None is the default."""
        limits = chosen.limits if chosen is not None else DEFAULT_LIMITS
        return cls(
            **limits.model_dump(),
            is_default=chosen is None,
            set_by=chosen.by if chosen is not None else None,
            set_at=chosen.at if chosen is not None else None,
        )
