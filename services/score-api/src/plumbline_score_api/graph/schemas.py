"""What the Graph routes take and give. The answers are documents; these models say what stands in them."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from plumbline_score_api.graph.entities import CONTROL_PROFILE
from plumbline_score_api.graph.expressions import LONGEST
from plumbline_score_api.texts import LineOrNothing, TextOrNothing

MOST_SKIPPED = 1_000_000
WRITABLE = frozenset({"assignedTo", "comment", "state", "vendorInformation"})
MICROSOFT_NAMES = frozenset({"microsoft", "plumbline"})


class Answer(BaseModel):
    """A type of Graph."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


def _may_be_selected(schema: JsonDict) -> None:
    """With `$select` any property of an entity may be left out, so the document promises none of them."""
    required = schema.pop("required", [])
    assert isinstance(required, list)
    if annotations := [name for name in required if str(name).startswith("@odata.")]:
        schema["required"] = annotations


class Entity(Answer):
    """A type of Graph whose properties can be selected."""

    model_config = ConfigDict(json_schema_extra=_may_be_selected)


class VendorInformation(Answer):
    """Who says so."""

    provider: str
    provider_version: str | None = None
    sub_provider: str | None = None
    vendor: str


class ControlScore(Answer):
    """A control on all instances that count."""

    control_name: str = Field(description="The id of its profile")
    control_category: str | None
    description: str | None = Field(description="HTML")
    score: float
    implementation_status: str = Field(description="What stands on each instance; HTML")
    last_synced: str | None = Field(description="When the oldest of the instances was read; null on former days")
    score_in_percentage: float
    on: str | None = Field(default=None, description='"true" or "false", of controls that are met or not')
    count: str | None = Field(default=None, description="How many comply, of controls that count")
    total: str | None = None


class SecureScoreEntity(Entity):
    """The Secure Score of a day."""

    id: str = Field(description="`{azureTenantId}_{yyyy-MM-dd}`")
    azure_tenant_id: str
    active_user_count: int
    created_date_time: str
    current_score: float
    enabled_services: list[str]
    licensed_user_count: int
    max_score: float
    average_comparative_scores: list[dict[str, Any]]
    control_scores: list[ControlScore]
    vendor_information: VendorInformation


class CertificationControl(Answer):
    """One id of a framework."""

    name: str
    url: str | None


class ComplianceInformation(Answer):
    """A framework that the control is mapped to."""

    certification_name: str
    certification_controls: list[CertificationControl]


class StateUpdate(Answer):
    """What was decided about a control."""

    assigned_to: str | None
    comment: str | None
    state: str = Field(description="Default, Ignored, ThirdParty or Reviewed")
    updated_by: str | None
    updated_date_time: str | None


class ControlProfile(Entity):
    """A control, and what was decided about it on all instances that count."""

    id: str
    action_type: str
    action_url: str | None
    azure_tenant_id: str
    compliance_information: list[ComplianceInformation]
    control_category: str
    control_name: str
    control_state_updates: list[StateUpdate]
    deprecated: bool
    implementation_cost: str
    last_modified_date_time: str
    max_score: float
    rank: int
    remediation: str = Field(description="HTML")
    remediation_impact: str = Field(description="HTML")
    service: str
    threats: list[str]
    tier: str
    title: str
    user_impact: str
    vendor_information: VendorInformation


class _Odata(BaseModel):
    model_config = ConfigDict(populate_by_name=True, extra="forbid")

    context: str = Field(alias="@odata.context")


class _Page(_Odata):
    count: int | None = Field(default=None, alias="@odata.count", description="With `$count=true`")
    next_link: str | None = Field(default=None, alias="@odata.nextLink", description="Where the next page is")


class SecureScorePage(_Page):
    """Scores of days, the newest first."""

    value: list[SecureScoreEntity]


class ControlProfilePage(_Page):
    """Controls, by id."""

    value: list[ControlProfile]


class SecureScoreAnswer(_Odata, SecureScoreEntity):
    """The score of one day."""


class ControlProfileAnswer(_Odata, ControlProfile):
    """One control."""


class InnerError(BaseModel):
    """Where to look for it."""

    date: str
    request_id: str = Field(alias="request-id", description="The trace id")
    client_request_id: str = Field(alias="client-request-id")


class ErrorDetail(BaseModel):
    """One value that is wrong."""

    code: str
    message: str
    target: str


class MainError(BaseModel):
    """What went wrong."""

    code: str
    message: str
    details: list[ErrorDetail] | None = None
    innerError: InnerError  # noqa: N815 - Graph's name


class GraphError(BaseModel):
    """An error as Microsoft Graph gives it."""

    error: MainError


class SelectQuery(BaseModel):
    """Options of one entity."""

    model_config = ConfigDict(populate_by_name=True)

    select: str | None = Field(default=None, alias="$select", max_length=LONGEST, description="Properties, by comma")


class CountQuery(BaseModel):
    """Options of a count."""

    model_config = ConfigDict(populate_by_name=True)

    filter: str | None = Field(default=None, alias="$filter", max_length=LONGEST, description="An OData expression")


class ListQuery(CountQuery, SelectQuery):
    """Options of a list. `$top` is the size of a page, as in Graph."""

    top: int | None = Field(default=None, alias="$top", ge=1, le=MOST_SKIPPED)
    skip: int = Field(default=0, alias="$skip", ge=0, le=MOST_SKIPPED)
    count: Literal["true", "false"] = Field(default="false", alias="$count")
    orderby: str | None = Field(default=None, alias="$orderby", max_length=LONGEST)
    skiptoken: str | None = Field(default=None, alias="$skiptoken", max_length=500, description="Of `@odata.nextLink`")


class SentVendor(BaseModel):
    """Whose control it is: Microsoft's name is taken as well as ours."""

    model_config = ConfigDict(extra="ignore")

    provider: str = Field(description="`SecureScore`, in any case of letters")
    vendor: str = Field(description="`Microsoft` or `Plumbline`, in any case of letters")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.provider.lower() != "securescore" or self.vendor.lower() not in MICROSOFT_NAMES:
            raise ValueError("expected the provider SecureScore and the vendor Microsoft or Plumbline")
        return self


class ProfilePatch(BaseModel):
    """What changes; what is not sent stays. An empty text or null empties a field. Read-only properties are ignored."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "state": "Ignored",
                    "comment": "Until the new portal is live.",
                    "assignedTo": "ann@contoso.example",
                    "vendorInformation": {"provider": "SecureScore", "vendor": "Microsoft"},
                }
            ]
        },
    )

    assigned_to: LineOrNothing | None = Field(default=None, alias="assignedTo")
    comment: TextOrNothing | None = None
    state: Literal["Default", "Ignored", "ThirdParty", "Reviewed"] | None = Field(
        default=None, description="In any case of letters"
    )
    vendor_information: SentVendor = Field(alias="vendorInformation")

    @model_validator(mode="before")
    @classmethod
    def _without_read_only(cls, sent: Any) -> Any:  # noqa: ANN401 - whatever was sent
        if not isinstance(sent, dict):
            return sent
        ignored = CONTROL_PROFILE.properties.keys() - WRITABLE
        kept = {name: value for name, value in sent.items() if name not in ignored and "@odata." not in str(name)}
        if isinstance(state := kept.get("state"), str):
            kept["state"] = _STATES.get(state.lower(), state)
        return kept


_STATES = {state.lower(): state for state in ("Default", "Ignored", "ThirdParty", "Reviewed")}
