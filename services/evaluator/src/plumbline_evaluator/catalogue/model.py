"""The format of a control file (`controls/<product>/<ID>.yaml`), as frozen data."""

from typing import Annotated, Literal, Self

from plumbline_contracts.events import Effort, Identifier, Outcome, Product, Remediation, Severity, UnknownReason
from plumbline_contracts.parameters import ParameterSchema
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

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


class Band(Spec):
    """A share of the points for a count within inclusive bounds; a bound is a number or `params.NAME`."""

    minimum: int | str | None = Field(default=None, alias="min")
    maximum: int | str | None = Field(default=None, alias="max")
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
    """One expression over the one row of a dataset that `key` (its entity id) or `match` (field values) selects."""

    kind: Literal["row"]
    dataset: str
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
    """One expression over the value of a ServiceNow system property."""

    kind: Literal["property"]
    property: str
    type: Literal["bool", "int", "string"]
    passes: str = Field(alias="pass")
    expected: str
    absent: PropertyAbsent


class RowsCheck(Spec):
    """`where` selects the population, `pass` judges each of its rows."""

    kind: Literal["rows"]
    dataset: str
    where: str = "true"
    passes: str = Field(alias="pass")
    expected: str
    absent: Outcome = Outcome.NOT_APPLICABLE


class CountCheck(Spec):
    """How many rows match `where`, against bands; the first that fits wins, none gives nothing."""

    kind: Literal["count"]
    dataset: str
    where: str = "true"
    bands: list[Band] = Field(min_length=1)
    expected: str


LeafCheck = DocumentCheck | RowCheck | PropertyCheck | RowsCheck | CountCheck


class AllCheck(Spec):
    """Every sub-check must pass: a FAIL decides, else an UNKNOWN, else PASS."""

    kind: Literal["all"]
    checks: dict[str, Annotated[LeafCheck, Field(discriminator="kind")]] = Field(min_length=2)


class AnyCheck(Spec):
    """One sub-check must pass: a PASS decides, else an UNKNOWN, else FAIL."""

    kind: Literal["any"]
    checks: dict[str, Annotated[LeafCheck, Field(discriminator="kind")]] = Field(min_length=2)


Check = Annotated[LeafCheck | AllCheck | AnyCheck, Field(discriminator="kind")]


class AppliesWhen(Spec):
    """A condition over a document dataset; where it is false the control is not applicable."""

    dataset: str
    expression: str


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
    title: str = Field(max_length=120)
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
    applies_when: AppliesWhen | None = None
    check: Check | None = None
    cases: list[Case] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check_fits_status(self) -> Self:
        if (self.check is None) != (self.status == "manual"):
            raise ValueError("a control has a check, unless its status is `manual`")
        return self

    def leaves(self) -> dict[str, LeafCheck]:
        """Its checks by name; a single check has the empty name."""
        if self.check is None:
            return {}
        if isinstance(self.check, AllCheck | AnyCheck):
            return dict(self.check.checks)
        return {"": self.check}
