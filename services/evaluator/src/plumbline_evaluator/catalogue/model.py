"""The format of a control file (`controls/<product>/<ID>.yaml`), as frozen data."""

from typing import Annotated, Literal, Self

from plumbline_contracts.events import Effort, Identifier, Outcome, Product, Remediation, Severity, UnknownReason
from plumbline_contracts.parameters import ParameterSchema
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

Category = Literal["Identity", "Apps", "Data", "Device", "Infrastructure"]
Threat = Literal[
    "account_breach",
    "data_deletion",
    "data_exfiltration",
    "data_spillage",
    "elevation_of_privilege",
    "malicious_insider",
    "password_cracking",
    "phishing_or_whaling",
    "spoofing",
]


class Spec(BaseModel):
    """Base of everything in a control file: immutable, and no key that the format does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Param(ParameterSchema):
    """A threshold or list that an operator may set per instance, within bounds."""

    default: JsonValue
    description: str

    @model_validator(mode="after")
    def _default_is_allowed(self) -> Self:
        if problem := self.problem_with(self.default):
            raise ValueError(f"the default is not allowed: {problem}")
        return self


Bound = int | str
"""A number, or `params.NAME` of an int parameter."""


class Band(Spec):
    """A share of the points for a count within inclusive bounds.

    With `max_percent` the upper bound is the larger of `max` and that percentage of the reference population (`of`),
    rounded down.
    """

    minimum: Bound | None = Field(default=None, alias="min")
    maximum: Bound | None = Field(default=None, alias="max")
    maximum_percent: Bound | None = Field(default=None, alias="max_percent")
    share: float = Field(ge=0, le=1)


class Partial(Spec):
    """A share of the points when `when` holds although `pass` does not."""

    when: str
    share: float = Field(gt=0, lt=1)


class ReleaseAbsent(Spec):
    """What an absent property means in releases from `from` (inclusive) until `until` (exclusive)."""

    since: str | None = Field(default=None, alias="from")
    until: str | None = None
    value: str | None = None
    outcome: Outcome | None = None


class PropertyAbsent(Spec):
    """What an absent property means: a documented value in force, or an outcome."""

    value: str | None = None
    outcome: Outcome | None = None
    releases: list[ReleaseAbsent] = Field(default_factory=list)

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        stated = [(self.value, self.outcome), *((band.value, band.outcome) for band in self.releases)]
        if any((value is None) == (outcome is None) for value, outcome in stated):
            raise ValueError("absent needs either `value` or `outcome`")
        return self


class DocumentCheck(Spec):
    """One expression over a document dataset."""

    kind: Literal["document"]
    dataset: str
    passes: str = Field(alias="pass")
    partial: list[Partial] = Field(default_factory=list)
    expected: str
    observed: list[str] = Field(default_factory=list)
    absent: Outcome = Outcome.UNKNOWN


class RowCheck(Spec):
    """One expression over the one row of a dataset that `key` (its entity id) or `match` (field values) selects.

    `subject` is what people call the row, for where it is not there to say so itself.
    """

    kind: Literal["row"]
    dataset: str
    subject: str | None = None
    key: str | None = None
    match: dict[str, str] = Field(default_factory=dict)
    passes: str = Field(alias="pass")
    expected: str
    absent: Outcome = Outcome.UNKNOWN

    @model_validator(mode="after")
    def _selects_a_row(self) -> Self:
        if (self.key is None) == (not self.match):
            raise ValueError("a row check needs either `key` or `match`")
        return self


class PropertyCheck(Spec):
    """One expression over the value of a ServiceNow system property.

    A `list` is the text between commas: items without blanks around them, empty ones left out.
    """

    kind: Literal["property"]
    property: str
    type: Literal["bool", "int", "string", "list"]
    passes: str = Field(alias="pass")
    expected: str
    absent: PropertyAbsent


class RowsCheck(Spec):
    """`where` selects the population, `pass` judges each of its rows.

    `population` names its members ("active users") and `exposed`, put behind that, those that do not comply ("without a
    registered method"). From `target_percent` of the population on, all points are given, below it in proportion.
    """

    kind: Literal["rows"]
    dataset: str
    population: str = Field(min_length=3, max_length=100)
    exposed: str = Field(min_length=3, max_length=120)
    target_percent: Bound = 100
    where: str = "true"
    passes: str = Field(alias="pass")
    expected: str
    absent: Outcome = Outcome.NOT_APPLICABLE


class CountCheck(Spec):
    """How many rows match `where`, against bands; the first that fits wins, none gives nothing.

    `population` names what is counted ("active administrators"), `singular` a single one ("active administrator").
    `of` selects the reference population of
    `max_percent`; only its rows are then asked for `where`.
    """

    kind: Literal["count"]
    dataset: str
    population: str = Field(min_length=3, max_length=100)
    singular: str | None = Field(default=None, min_length=3, max_length=100)
    of: str | None = None
    where: str = "true"
    bands: list[Band] = Field(min_length=1)
    expected: str

    @model_validator(mode="after")
    def _percentages_are_of_something(self) -> Self:
        if any(band.maximum_percent is not None for band in self.bands) != (self.of is not None):
            raise ValueError("`max_percent` and `of`, the population that it is a part of, need each other")
        return self


LeafCheck = DocumentCheck | RowCheck | PropertyCheck | RowsCheck | CountCheck


class AllCheck(Spec):
    """Every sub-check must pass: a FAIL decides, else an UNKNOWN, else PASS."""

    kind: Literal["all"]
    checks: dict[str, Annotated[LeafCheck, Field(discriminator="kind")]] = Field(min_length=2)


class AnyCheck(Spec):
    """One sub-check must pass: a PASS decides, else an UNKNOWN, else FAIL."""

    kind: Literal["any"]
    checks: dict[str, Annotated[LeafCheck, Field(discriminator="kind")]] = Field(min_length=2)


class ShareCheck(Spec):
    """The part of the sub-checks that pass is the share of the points.

    One that cannot be judged counts as not passed; if that holds for all, the outcome is UNKNOWN.
    """

    kind: Literal["share"]
    checks: dict[str, Annotated[LeafCheck, Field(discriminator="kind")]] = Field(min_length=2)


Check = Annotated[LeafCheck | AllCheck | AnyCheck | ShareCheck, Field(discriminator="kind")]


class AppliesWhen(Spec):
    """A condition on the instance; where it is false the control is not applicable, and `reason` says why in a clause.

    It is asked of a document, or of the one row that `key` or `match` selects. Where a wholly read dataset has no such
    row, the control is not applicable either.
    """

    dataset: str
    key: str | None = None
    match: dict[str, str] = Field(default_factory=dict)
    expression: str
    reason: str | None = None

    @model_validator(mode="after")
    def _selects_one_row(self) -> Self:
        if self.key is not None and self.match:
            raise ValueError("a condition has either `key` or `match`")
        return self


class Expectation(Spec):
    """What judging a case must give; what is not named is not compared."""

    outcome: Outcome
    reason: UnknownReason | None = None
    points: float | None = None
    compliant: int | None = None
    total: int | None = None
    exposed: list[str] | None = None


class Case(Spec):
    """Data with the outcome that it must give."""

    name: str
    given: dict[str, JsonValue] = Field(default_factory=dict)
    params: dict[str, JsonValue] = Field(default_factory=dict)
    expect: Expectation


class Control(Spec):
    """One control, as its file says."""

    id: Identifier
    version: int = Field(ge=1)
    status: Literal["active", "manual", "retired"] = "active"
    manual_reason: str | None = None
    title: str = Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")
    product: Product
    category: Category
    severity: Severity
    points: float = Field(ge=0, le=10)
    aliases: list[Identifier] = Field(default_factory=list)
    user_impact: Effort
    implementation_cost: Effort
    threats: list[Threat] = Field(default_factory=list)
    description: str
    rationale: str
    remediation: Remediation
    frameworks: dict[str, list[str]] = Field(default_factory=dict)
    permissions: list[str] = Field(default_factory=list)
    params: dict[str, Param] = Field(default_factory=dict)
    applies_when: list[AppliesWhen] = Field(default_factory=list)
    check: Check | None = None
    cases: list[Case] = Field(default_factory=list)

    @field_validator("applies_when", mode="before")
    @classmethod
    def _one_condition_needs_no_list(cls, given: object) -> object:
        return [given] if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _check_fits_status(self) -> Self:
        if (self.check is None) != (self.status == "manual"):
            raise ValueError("a control has a check, unless its status is `manual`")
        if (self.manual_reason is None) == (self.status == "manual"):
            raise ValueError("`manual_reason` says why a control is `manual`, and stands with no other status")
        return self

    def leaves(self) -> dict[str, LeafCheck]:
        """Its checks by name; a single check has the empty name."""
        if self.check is None:
            return {}
        if isinstance(self.check, AllCheck | AnyCheck | ShareCheck):
            return dict(self.check.checks)
        return {"": self.check}
