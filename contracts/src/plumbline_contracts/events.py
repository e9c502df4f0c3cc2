"""The events on Plumbline's topics, one frozen model each.

Writers build them with every field known (`extra="forbid"`); readers go through `envelope.decode`, which ignores
fields that it does not know, so a newer producer never stops an older consumer within a major version.
Times are UTC and RFC 3339 on the wire; ids match `[A-Za-z0-9._-]{1,64}`.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, PlainSerializer

ID_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"

Identifier = Annotated[str, Field(pattern=ID_PATTERN)]


def _as_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("lies outside of the calendar once it is UTC") from error


def _as_rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Timestamp = Annotated[
    AwareDatetime,
    AfterValidator(_as_utc),
    PlainSerializer(_as_rfc3339, return_type=str, when_used="json"),
]

Row = dict[str, JsonValue]


class Product(StrEnum):
    """A SaaS product that Plumbline connects to."""

    SALESFORCE = "salesforce"
    SERVICENOW = "servicenow"


class DatasetState(StrEnum):
    """How much of a dataset a collection could read."""

    OK = "ok"
    DENIED = "denied"
    NOT_LICENSED = "not_licensed"
    UNSUPPORTED = "unsupported"
    TRUNCATED = "truncated"
    ERROR = "error"


class Outcome(StrEnum):
    """What judging one control on one snapshot gave."""

    PASS = "PASS"  # noqa: S105 - an outcome, not a password
    PARTIAL = "PARTIAL"
    FAIL = "FAIL"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    UNKNOWN = "UNKNOWN"


class UnknownReason(StrEnum):
    """Why a control could not be decided."""

    MISSING_PERMISSION = "missing_permission"
    MISSING_FIELD = "missing_field"
    COLLECTION_ERROR = "collection_error"
    TRUNCATED = "truncated"
    EXPRESSION_ERROR = "expression_error"
    INVALID_PARAMETER = "invalid_parameter"


class Insights(StrEnum):
    """Whether an instance's results count in Secure Score."""

    MAIN = "main"
    ON = "on"
    OFF = "off"


class RequestReason(StrEnum):
    """Why a collection was asked for."""

    SCHEDULE = "schedule"
    CHANGE = "change"
    USER = "user"


class Health(StrEnum):
    """The health of one connection."""

    PENDING = "pending"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILED = "failed"
    PAUSED = "paused"


class Severity(StrEnum):
    """How much harm a failing control allows."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFORMATIONAL = "informational"


class Effort(StrEnum):
    """A coarse level of user impact or implementation cost."""

    LOW = "low"
    MODERATE = "moderate"
    HIGH = "high"


class Event(BaseModel):
    """Base of everything on the wire: immutable, and strict about what we write."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_enum_values=False)


class InstanceEvent(Event):
    """An event about one instance of one tenant."""

    tenant: Identifier
    instance: Identifier
    product: Product

    @property
    def key(self) -> str:
        """The record key `tenant/instance`: it decides the partition and thus the order."""
        return f"{self.tenant}/{self.instance}"


class DatasetChunk(InstanceEvent):
    """Rows of one dataset of one snapshot, about 200 KB before compression. A document is a chunk of one row."""

    snapshot_id: str
    publication_id: str = Field(description="Random per attempt to publish; readers take only their own")
    dataset: str
    sequence: int = Field(ge=0, description="0-based over all chunks of the publication")
    rows: list[Row]


class DatasetError(Event):
    """Why a dataset is not `ok`, and what to do about it."""

    code: str = Field(description="The vendor's error code or ours, such as INSUFFICIENT_ACCESS or http_503")
    message: str
    permission: str | None = Field(default=None, description="The permission, role or licence to add")
    remedy: str | None = Field(default=None, description="Where to add it, in the product's own menus")


class MissingField(Event):
    """One field of a dataset that no row carries, with the reason."""

    field: str
    state: DatasetState
    error: DatasetError


class DatasetSummary(Event):
    """The state of one dataset in a snapshot."""

    name: str
    kind: Literal["document", "rows"]
    state: DatasetState
    row_count: int = Field(default=0, ge=0)
    chunk_count: int = Field(default=0, ge=0)
    reported_count: int | None = Field(default=None, ge=0, description="The API's own total, where it gives one")
    missing_fields: list[MissingField] = Field(default_factory=list)
    error: DatasetError | None = None
    source: str = Field(description="The API object that was read, such as `User` or `sys_properties`")
    read_at: Timestamp | None = None
    calls: int | None = Field(default=None, ge=0, description="API calls that reading it took, retries included")
    bytes: int | None = Field(default=None, ge=0, description="Size of the answers, unpacked")
    seconds: float | None = Field(default=None, ge=0, description="From the first call to the last row")


class ChunkRange(Event):
    """Where the chunks of one publication lie in `snapshot-chunks`, and how to know that they are whole."""

    partition: int = Field(ge=0)
    first_offset: int = Field(ge=0)
    last_offset: int = Field(ge=0)
    chunk_count: int = Field(ge=1)
    digest: str = Field(description="`ids.ChunkDigest` over the chunk values in order, hex")


class AuditEntry(Event):
    """One change that the product's own audit trail reports."""

    at: Timestamp
    actor: str
    action: str
    section: str | None = Field(default=None, description="Part of the product: a Setup section, a table")
    detail: str | None = None
    subject: str | None = Field(default=None, description="What was changed, such as a property's name or a record id")
    old_value: str | None = Field(default=None, description="Where the product gives it; at most 1,000 characters")
    new_value: str | None = Field(default=None, description="Where the product gives it; at most 1,000 characters")


class SnapshotCompleted(InstanceEvent):
    """A whole snapshot lies in `snapshot-chunks`; this small record is the only thing consumers subscribe to."""

    snapshot_id: str
    publication_id: str
    request_id: str
    reason: RequestReason
    started_at: Timestamp
    completed_at: Timestamp
    release: str | None = Field(default=None, description="The product's release or API version as read")
    datasets: list[DatasetSummary]
    audit_entries: list[AuditEntry] = Field(default_factory=list)
    parameters: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict, description="Control id to parameter name to value, from the connection"
    )
    chunks: ChunkRange | None = Field(default=None, description="None in a snapshot file, or when nothing was read")
    collector_version: str


class ExposedEntity(Event):
    """One subject that does not comply with a control."""

    id: str
    name: str
    type: str = Field(description="What it is, such as `salesforce/user`")
    detail: dict[str, JsonValue] = Field(default_factory=dict, description="The fields that the judgement read")


class ExposedEntities(Event):
    """Some of the exposed entities of one control; a control's entities may span several parts."""

    control_id: Identifier
    entities: list[ExposedEntity]


class Evidence(Event):
    """What was read to reach a result."""

    dataset: str
    source: str = Field(description="API object and field, such as `SecuritySettings.passwordPolicies`")
    state: DatasetState
    read_at: Timestamp | None = None
    observed: dict[str, JsonValue] = Field(default_factory=dict, description="Field to value as read")
    name: str | None = Field(default=None, description="The sub-check, for `all` and `any` controls")
    outcome: Outcome | None = Field(default=None, description="The sub-check's outcome")


class ControlResult(Event):
    """The outcome of one control in one evaluation."""

    control_id: Identifier
    control_digest: str
    outcome: Outcome
    reason: UnknownReason | None = None
    explanation: str = Field(description="One or two sentences: what was found and, for UNKNOWN, what to grant or mend")
    share: float = Field(ge=0, le=1, description="The share of the points that is achieved")
    points: float = Field(ge=0, description="max_points x share, rounded to 3 decimals")
    max_points: float = Field(ge=0, le=10)
    compliant: int | None = Field(default=None, ge=0)
    total: int | None = Field(default=None, ge=0)
    exposed: int = Field(default=0, ge=0, description="The exact number of exposed entities, listed or not")
    exposed_listed: int = Field(default=0, ge=0, description="How many of them travel in the parts")
    exposed_digest: str | None = Field(default=None, description="Order-independent digest over all exposed entities")
    expected: str | None = None
    observed: str | None = None
    evidence: list[Evidence] = Field(default_factory=list)


class ControlResults(InstanceEvent):
    """One part (at most 512 KB) of the results of one evaluation.

    Parts are numbered from 0; only the last carries `part_count`. Exposed entities may precede the result that they
    belong to.
    """

    evaluation_id: str
    snapshot_id: str
    snapshot_digest: str = Field(description="Digest of the chunks that were judged; empty when there were none")
    snapshot_started_at: Timestamp
    evaluated_at: Timestamp
    catalogue_digest: str
    catalogue_generation: int = Field(ge=0)
    part: int = Field(ge=0)
    part_count: int | None = Field(default=None, ge=1)
    results: list[ControlResult] = Field(default_factory=list)
    exposed: list[ExposedEntities] = Field(default_factory=list)
    datasets: list[DatasetSummary] = Field(default_factory=list, description="Only in the last part")
    audit_entries: list[AuditEntry] = Field(default_factory=list, description="Only in the last part")


class Link(Event):
    """A page of the vendor's documentation."""

    title: str
    url: str = Field(pattern=r"^https://")


class Remediation(Event):
    """What an administrator does to make a control pass."""

    steps: list[str] = Field(min_length=1)
    side_effects: str | None = None
    verify: str | None = None
    links: list[Link] = Field(default_factory=list)


class ControlDefinition(Event):
    """A control as it was evaluated. Key `control_id@digest`; a retired one is said so, never left out."""

    control_id: Identifier
    digest: str
    version: int = Field(ge=1)
    catalogue_generation: int = Field(ge=0)
    status: Literal["active", "manual", "retired"] = "active"
    manual_reason: str | None = None
    """Why a control with the status `manual` cannot be judged from what can be read."""
    product: Product
    title: str
    category: Literal["Identity", "Apps", "Data", "Device", "Infrastructure"]
    severity: Severity
    max_points: float = Field(ge=0, le=10)
    aliases: list[str] = Field(default_factory=list)
    user_impact: Effort
    implementation_cost: Effort
    threats: list[str] = Field(default_factory=list)
    description: str
    rationale: str
    remediation: Remediation
    frameworks: dict[str, list[str]] = Field(default_factory=dict)
    permissions: list[str] = Field(default_factory=list)

    @property
    def key(self) -> str:
        """The record key `control_id@digest`."""
        return f"{self.control_id}@{self.digest}"


class RunSummary(Event):
    """One finished attempt to collect an instance."""

    snapshot_id: str | None = None
    request_id: str
    reason: RequestReason
    started_at: Timestamp
    completed_at: Timestamp
    succeeded: bool
    message: str


class ApiBudget(Event):
    """Calls of the SaaS API in the current day, as far as the product tells."""

    used_by_us: int = Field(ge=0)
    used_in_total: int | None = Field(default=None, ge=0)
    daily_limit: int | None = Field(default=None, ge=0)
    share: float = Field(gt=0, le=1)
    day: str = Field(description="UTC date that `used_by_us` counts, YYYY-MM-DD")


class InstanceStatus(InstanceEvent):
    """The newest state of one connection; the topic is compacted, so every record is complete."""

    url: str
    insights: Insights | None = Field(default=None, description="What the connections file says; None if it is silent")
    health: Health
    message: str = Field(description="What happened and what to do next; one sentence when healthy")
    updated_at: Timestamp
    is_collecting: bool = False
    last_run: RunSummary | None = None
    last_success: RunSummary | None = None
    last_started_at: Timestamp | None = Field(default=None, description="Start of the newest published snapshot")
    next_full_at: Timestamp | None = None
    next_watch_at: Timestamp | None = None
    change_marker: str | None = Field(default=None, description="Position of the change watch in the audit trail")
    consecutive_failures: int = Field(default=0, ge=0)
    datasets: list[DatasetSummary] = Field(default_factory=list)
    budget: ApiBudget | None = None


class CollectionRequest(Event):
    """Somebody or something asks for a full collection of one instance."""

    request_id: str
    tenant: Identifier
    instance: Identifier
    reason: RequestReason
    requested_by: str = Field(description="`scheduler`, `change-watch`, or the name of the key or person")
    requested_at: Timestamp
    detail: str | None = None

    @property
    def key(self) -> str:
        """The record key `tenant/instance`."""
        return f"{self.tenant}/{self.instance}"


EVENT_TYPES: dict[str, type[Event]] = {
    "io.plumbline.dataset-chunk.v1": DatasetChunk,
    "io.plumbline.snapshot-completed.v1": SnapshotCompleted,
    "io.plumbline.control-results.v1": ControlResults,
    "io.plumbline.control-definition.v1": ControlDefinition,
    "io.plumbline.instance-status.v1": InstanceStatus,
    "io.plumbline.collection-request.v1": CollectionRequest,
}
"""CloudEvents `type` to model. The suffix is the major version: within it no field is removed or re-typed."""
