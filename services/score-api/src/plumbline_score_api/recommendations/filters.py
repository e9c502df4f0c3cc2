"""What recommendations can be filtered by."""

from typing import Annotated

from plumbline_contracts.events import Identifier, Outcome, Product, Severity
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.recommendations.categories import Category

Search = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class Filters(BaseModel):
    """Filters; several values of one filter are alternatives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    product: list[Product] = Field(default_factory=list, max_length=50)
    instance: list[Identifier] = Field(default_factory=list, max_length=500)
    control: list[Identifier] = Field(default_factory=list, max_length=500, description="Control ids or aliases")
    outcome: list[Outcome] = Field(default_factory=list, max_length=50)
    status: list[Status] = Field(default_factory=list, max_length=50)
    category: list[Category] = Field(default_factory=list, max_length=50)
    severity: list[Severity] = Field(default_factory=list, max_length=50)
    framework: list[Identifier] = Field(
        default_factory=list, max_length=50, description="Controls that are mapped to it, such as `nist_800_53_r5`"
    )
    regressed: list[bool] = Field(default_factory=list, max_length=2, description="Completed once, and failing again")
    stale: list[bool] = Field(default_factory=list, max_length=2, description="Not measured in time")
    text: Search | None = Field(
        default=None, description="Words that stand in id, alias, title or description, in any case; all must"
    )
