"""What a key is, and what is said and asked about keys."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from plumbline_contracts.events import Identifier, Timestamp
from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class Role(StrEnum):
    """What a caller may do."""

    READ = "SecureScore.Read"
    WRITE = "SecureScore.ReadWrite"
    INSTANCES = "Instances.Manage"
    KEYS = "Keys.Manage"


class ApiKey(BaseModel):
    """A key as it is stored: never the secret, only its SHA-256."""

    model_config = ConfigDict(frozen=True)

    key_id: str
    secret_hash: str
    tenant: Identifier
    name: str
    roles: frozenset[Role]
    created_at: datetime
    created_by: str | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None
    last_used_at: datetime | None = None


class Caller(BaseModel):
    """Who asks: everything is seen through the tenant."""

    model_config = ConfigDict(frozen=True)

    tenant: Identifier
    name: str
    roles: frozenset[Role]
    identity: str = Field(
        description="Unique and lasting, as the name is not: `key:ID`, or `ISSUER#SUBJECT` of a token"
    )


class KeyState(StrEnum):
    """Whether a key opens anything now."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class KeyItem(BaseModel):
    """One key. Its secret is nowhere."""

    key_id: str
    name: str
    roles: list[Role]
    state: KeyState
    created_at: Timestamp
    created_by: str | None = Field(description="Null when it is not known")
    expires_at: Timestamp | None
    revoked_at: Timestamp | None
    revoked_by: str | None
    last_used_at: Timestamp | None = Field(description="To the minute; null when it was never used")


class KeyPage(BaseModel):
    """A page of keys, the newest first."""

    items: list[KeyItem]
    next_cursor: str | None


class KeyCreated(KeyItem):
    """A new key, and the only sight of its secret."""

    key: str = Field(description="To be sent as `Authorization: Bearer`. It cannot be shown again.")


class KeyQuery(BaseModel):
    """A page of keys."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=500, description="`next_cursor` of the page before")


class KeyBody(BaseModel):
    """The key to make."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "siem", "roles": ["SecureScore.Read"]}]}
    )

    name: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")] = Field(
        description="What the key is for; it stands in the audit trail"
    )
    roles: frozenset[Role] = Field(min_length=1, description="At most those of the caller")
    expires_at: Timestamp | None = Field(default=None, description="When it ends; null for never")
