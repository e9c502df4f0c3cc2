"""Which zone a score lies in. Pure."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Percentage = Annotated[float, Field(strict=True, gt=0, le=100, allow_inf_nan=False)]


class Zone(StrEnum):
    """How good a score is, in one word."""

    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"


class ZoneLimits(BaseModel):
    """The percentages at which zones begin; what lies below both is poor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fair_from: Percentage = Field(description="The percentage at which fair begins; below `good_from`")
    good_from: Percentage = Field(description="The percentage at which good begins")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.fair_from >= self.good_from:
            raise ValueError("`fair_from` must be below `good_from`")
        return self

    def zone(self, percentage: float, possible: float) -> Zone | None:
        """The zone of a percentage; None where no points are possible, so that there is nothing to judge."""
        if not possible:
            return None
        if percentage >= self.good_from:
            return Zone.GOOD
        return Zone.FAIR if percentage >= self.fair_from else Zone.POOR


DEFAULT_LIMITS = ZoneLimits(fair_from=50, good_from=80)
"""For tenants that have set none."""
