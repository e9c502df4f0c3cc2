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

    tenant: Identifier = Field(description="The customer organisation")
    instance: Identifier = Field(description="The connected org, by the id that its operator chose")
    product: Product = Field(description="The product of the instance")

    @property
    def key(self) -> str:
        """The record key `tenant/instance`: it decides the partition and thus the order."""
        return f"{self.tenant}/{self.instance}"


class DatasetChunk(InstanceEvent):
    """Rows of one dataset of one snapshot, about 200 KB before compression. A document is a chunk of one row."""

    snapshot_id: str = Field(description="The snapshot that the rows belong to")
    publication_id: str = Field(description="Random per attempt to publish; readers take only their own")
    dataset: str = Field(description="Name of the dataset, such as `users`")
    sequence: int = Field(ge=0, description="0-based over all chunks of the publication")
    rows: list[Row] = Field(description="Field to value; a field that was not read is absent, never null")


class DatasetError(Event):
    """Why a dataset is not `ok`, and what to do about it."""

    code: str = Field(description="The vendor's error code or ours, such as INSUFFICIENT_ACCESS or http_503")
    message: str = Field(description="What happened, in a sentence")
    permission: str | None = Field(default=None, description="The permission, role or licence to add")
    remedy: str | None = Field(default=None, description="Where to add it, in the product's own menus")


class MissingField(Event):
    """One field of a dataset that no row carries, with the reason."""

    field: str = Field(description="Name of the field")
    state: DatasetState = Field(description="Why no row carries it")
    error: DatasetError = Field(description="What the product answered, and the remedy")


class DatasetSummary(Event):
    """The state of one dataset in a snapshot."""

    name: str = Field(description="Name of the dataset, such as `users`")
    kind: Literal["document", "rows"] = Field(description="One object of settings, or many rows")
    state: DatasetState = Field(description="How much of it was read")
    row_count: int = Field(default=0, ge=0, description="Rows that were read; 1 for a document")
    chunk_count: int = Field(default=0, ge=0, description="Chunks that they fill")
    reported_count: int | None = Field(default=None, ge=0, description="The API's own total, where it gives one")
    missing_fields: list[MissingField] = Field(
        default_factory=list, description="Fields that could not be read though the dataset was"
    )
    error: DatasetError | None = Field(default=None, description="Why it is not `ok`")
    source: str = Field(description="The API object that was read, such as `User` or `sys_properties`")
    read_at: Timestamp | None = Field(default=None, description="When the last row was read")
    calls: int | None = Field(default=None, ge=0, description="API calls that reading it took, retries included")
    bytes: int | None = Field(default=None, ge=0, description="Size of the answers, unpacked")
    seconds: float | None = Field(default=None, ge=0, description="From the first call to the last row")


class ChunkRange(Event):
    """Where the chunks of one publication lie in `snapshot-chunks`, and how to know that they are whole."""

    partition: int = Field(ge=0, description="Partition of `snapshot-chunks`")
    first_offset: int = Field(ge=0, description="Offset of the first chunk")
    last_offset: int = Field(ge=0, description="Offset of the last chunk; records of others may lie between")
    chunk_count: int = Field(ge=1, description="How many records of the range carry the `publication_id`")
    digest: str = Field(description="`ids.ChunkDigest` over the chunk values in order, hex")


class AuditEntry(Event):
    """One change that the product's own audit trail reports."""

    at: Timestamp = Field(description="When it was changed")
    actor: str = Field(description="Who changed it, as the product names them")
    action: str = Field(description="What was done, in the product's own word")
    section: str | None = Field(default=None, description="Part of the product: a Setup section, a table")
    detail: str | None = Field(default=None, description="The product's own text on it")
    subject: str | None = Field(default=None, description="What was changed, such as a property's name or a record id")
    old_value: str | None = Field(default=None, description="Where the product gives it; at most 1,000 characters")
    new_value: str | None = Field(default=None, description="Where the product gives it; at most 1,000 characters")


class SnapshotCompleted(InstanceEvent):
    """A whole snapshot lies in `snapshot-chunks`; this small record is the only thing consumers subscribe to."""

    snapshot_id: str = Field(description="Deterministic: a request that is tried again gives the same id")
    publication_id: str = Field(description="The attempt to publish whose chunks count")
    request_id: str = Field(description="The request that the collection answers")
    reason: RequestReason = Field(description="Why it was asked for")
    started_at: Timestamp = Field(description="When reading began; always later than the instance's snapshot before")
    completed_at: Timestamp = Field(description="When the last dataset was read")
    release: str | None = Field(default=None, description="The product's release or API version as read")
    datasets: list[DatasetSummary] = Field(description="Every dataset of the product, read or not")
    audit_entries: list[AuditEntry] = Field(
        default_factory=list, description="Changes that the product's audit trail reported since the snapshot before"
    )
    parameters: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict, description="Control id to parameter name to value, from the connection"
    )
    chunks: ChunkRange | None = Field(default=None, description="None in a snapshot file, or when nothing was read")
    collector_version: str = Field(description="Release of the collector")


class ExposedEntity(Event):
    """One subject that does not comply with a control."""

    id: str = Field(description="The product's own id of it")
    name: str = Field(description="What people call it")
    type: str = Field(description="What it is, such as `salesforce/user`")
    detail: dict[str, JsonValue] = Field(default_factory=dict, description="The fields that the judgement read")


class ExposedEntities(Event):
    """Some of the exposed entities of one control; a control's entities may span several parts."""

    control_id: Identifier = Field(description="The control that they do not comply with")
    entities: list[ExposedEntity] = Field(description="A part of them; other parts may have more")


class Evidence(Event):
    """What was read to reach a result."""

    dataset: str = Field(description="The dataset that was judged")
    source: str = Field(description="API object and field, such as `SecuritySettings.passwordPolicies`")
    state: DatasetState = Field(description="How much of the dataset was read")
    read_at: Timestamp | None = Field(default=None, description="When it was read")
    observed: dict[str, JsonValue] = Field(default_factory=dict, description="Field to value as read")
    name: str | None = Field(default=None, description="The sub-check, for `all` and `any` controls")
    outcome: Outcome | None = Field(default=None, description="The sub-check's outcome")


class ControlResult(Event):
    """The outcome of one control in one evaluation."""

    control_id: Identifier = Field(description="The control that was judged")
    control_digest: str = Field(
        description="Digest of its definition, the second half of its key in `control-catalogue`"
    )
    outcome: Outcome = Field(description="What judging gave")
    reason: UnknownReason | None = Field(
        default=None, description="Why it could not be decided; present exactly when the outcome is UNKNOWN"
    )
    explanation: str = Field(description="One or two sentences: what was found and, for UNKNOWN, what to grant or mend")
    share: float = Field(ge=0, le=1, description="The share of the points that is achieved")
    points: float = Field(ge=0, description="max_points x share, rounded to 3 decimals")
    max_points: float = Field(ge=0, le=10, description="What a PASS is worth; 0 is report only")
    compliant: int | None = Field(default=None, ge=0, description="Rows that comply; absent where nothing is counted")
    total: int | None = Field(default=None, ge=0, description="Rows that were judged; absent where nothing is counted")
    exposed: int = Field(default=0, ge=0, description="The exact number of exposed entities, listed or not")
    exposed_listed: int = Field(default=0, ge=0, description="How many of them travel in the parts")
    exposed_digest: str | None = Field(default=None, description="Order-independent digest over all exposed entities")
    expected: str | None = Field(default=None, description="What passes, as text")
    observed: str | None = Field(default=None, description="What was found, as text")
    evidence: list[Evidence] = Field(default_factory=list, description="What was read, one entry per sub-check")


class ControlResults(InstanceEvent):
    """One part (at most 512 KB) of the results of one evaluation.

    Parts are numbered from 0; only the last carries `part_count`. Exposed entities may precede the result that they
    belong to.
    """

    evaluation_id: str = Field(description="Deterministic: snapshot and catalogue digest")
    snapshot_id: str = Field(description="The snapshot that was judged")
    snapshot_digest: str = Field(description="Digest of the chunks that were judged; empty when there were none")
    snapshot_started_at: Timestamp = Field(description="When reading it began; a newer snapshot wins over an older one")
    evaluated_at: Timestamp = Field(description="When it was judged")
    catalogue_digest: str = Field(description="Digest of the catalogue that judged")
    catalogue_generation: int = Field(
        ge=0, description="Rises with every catalogue; a newer one wins over an older one"
    )
    part: int = Field(ge=0, description="Number of this part, from 0")
    part_count: int | None = Field(default=None, ge=1, description="How many parts there are; only in the last one")
    results: list[ControlResult] = Field(
        default_factory=list, description="Results of some controls; each control stands in one part"
    )
    exposed: list[ExposedEntities] = Field(default_factory=list, description="Exposed entities of some controls")
    datasets: list[DatasetSummary] = Field(default_factory=list, description="Only in the last part")
    audit_entries: list[AuditEntry] = Field(default_factory=list, description="Only in the last part")


class Link(Event):
    """A page of the vendor's documentation."""

    title: str = Field(description="Title of the page")
    url: str = Field(pattern=r"^https://", description="Its address")


class Remediation(Event):
    """What an administrator does to make a control pass."""

    steps: list[str] = Field(min_length=1, description="What to do, in order")
    side_effects: str | None = Field(default=None, description="What else changes, and for whom")
    verify: str | None = Field(default=None, description="How to see that it worked")
    links: list[Link] = Field(default_factory=list, description="Documentation of the vendor")


class ControlDefinition(Event):
    """A control as it was evaluated. Key `control_id@digest`; a retired one is said so, never left out."""

    control_id: Identifier = Field(description="Stable id, such as `SF-ID-12`")
    digest: str = Field(description="Digest of everything that decides a result")
    version: int = Field(ge=1, description="Revision of the control, counted up by its authors")
    catalogue_generation: int = Field(ge=0, description="Generation of the catalogue that published it so")
    status: Literal["active", "manual", "retired"] = Field(
        default="active", description="`manual` ones are not judged; `retired` ones are not judged any more"
    )
    manual_reason: str | None = Field(
        default=None, description="Why a `manual` one cannot be judged from what can be read"
    )
    product: Product = Field(description="The product that it judges")
    title: str = Field(description="What holds when it passes, in a line")
    category: Literal["Identity", "Apps", "Data", "Device", "Infrastructure"] = Field(
        description="The part of security that it belongs to"
    )
    severity: Severity = Field(description="How much harm a failure allows")
    max_points: float = Field(ge=0, le=10, description="What a PASS is worth; 0 is report only")
    aliases: list[str] = Field(default_factory=list, description="Ids of the same control elsewhere, and former ids")
    user_impact: Effort = Field(description="How much users notice the change")
    implementation_cost: Effort = Field(description="How much work the change is")
    threats: list[str] = Field(default_factory=list, description="What an attacker could do")
    description: str = Field(description="What is judged")
    rationale: str = Field(description="Why it matters")
    remediation: Remediation = Field(description="How to make it pass")
    frameworks: dict[str, list[str]] = Field(
        default_factory=dict, description="Framework to the ids of its requirements"
    )
    permissions: list[str] = Field(default_factory=list, description="What the integration user needs to read it")

    @property
    def key(self) -> str:
        """The record key `control_id@digest`."""
        return f"{self.control_id}@{self.digest}"


class RunSummary(Event):
    """One finished attempt to collect an instance."""

    snapshot_id: str | None = Field(
        default=None, description="The snapshot that it published; absent when it published none"
    )
    request_id: str = Field(description="The request that it answered")
    reason: RequestReason = Field(description="Why it was asked for")
    started_at: Timestamp = Field(description="When it began")
    completed_at: Timestamp = Field(description="When it ended")
    succeeded: bool = Field(description="Whether a snapshot was published")
    message: str = Field(description="What was read, or what failed and what to do next")


class ApiBudget(Event):
    """Calls of the SaaS API in the current day, as far as the product tells."""

    used_by_us: int = Field(ge=0, description="Calls that Plumbline made")
    used_in_total: int | None = Field(default=None, ge=0, description="Calls of everybody, as the product tells")
    daily_limit: int | None = Field(default=None, ge=0, description="The product's limit")
    share: float = Field(gt=0, le=1, description="The part of the limit that Plumbline may use")
    day: str = Field(description="UTC date that `used_by_us` counts, YYYY-MM-DD")


class InstanceStatus(InstanceEvent):
    """The newest state of one connection; the topic is compacted, so every record is complete."""

    url: str = Field(description="Address of the instance")
    insights: Insights | None = Field(default=None, description="What the connections file says; None if it is silent")
    health: Health = Field(description="Whether collections succeed")
    message: str = Field(description="What happened and what to do next; one sentence when healthy")
    updated_at: Timestamp = Field(description="When this was written")
    is_collecting: bool = Field(default=False, description="Whether a collection runs now")
    last_run: RunSummary | None = Field(default=None, description="The newest attempt, whatever became of it")
    last_success: RunSummary | None = Field(default=None, description="The newest attempt that published a snapshot")
    last_started_at: Timestamp | None = Field(default=None, description="Start of the newest published snapshot")
    next_full_at: Timestamp | None = Field(default=None, description="When the next full collection is due")
    next_watch_at: Timestamp | None = Field(default=None, description="When the next look for changes is due")
    change_marker: str | None = Field(default=None, description="Position of the change watch in the audit trail")
    consecutive_failures: int = Field(default=0, ge=0, description="Attempts that failed since the last success")
    datasets: list[DatasetSummary] = Field(default_factory=list, description="Every dataset as it was last read")
    budget: ApiBudget | None = Field(default=None, description="Calls of the product's API today")


class CollectionRequest(Event):
    """Somebody or something asks for a full collection of one instance."""

    request_id: str = Field(description="Random or derived from the cause; a repeated one is answered once")
    tenant: Identifier = Field(description="The customer organisation")
    instance: Identifier = Field(description="The instance to collect")
    reason: RequestReason = Field(description="What brought the request")
    requested_by: str = Field(description="`scheduler`, `change-watch`, or the name of the key or person")
    requested_at: Timestamp = Field(description="When it was asked for")
    detail: str | None = Field(default=None, description="More on the cause, for people")

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
