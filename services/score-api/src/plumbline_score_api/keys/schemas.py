"""What a key is, and what is said and asked about keys."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from plumbline_contracts.events import Identifier, Product, Timestamp
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_serializer, model_validator

from plumbline_score_api.moments import Moment


class Role(StrEnum):
    """What a caller may do."""

    READ = "SecureScore.Read"
    WRITE = "SecureScore.ReadWrite"
    INSTANCES = "Instances.Manage"
    KEYS = "Keys.Manage"


MOST_INSTANCES = 500


class Restriction(BaseModel):
    """What a caller sees of its tenant: some instances, or those of some products; with both, what fits both.

    To such a caller everything else is not there, and what concerns the tenant as a whole is refused.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"instances": ["sales-eu"]}]}
    )

    instances: frozenset[Identifier] | None = Field(default=None, min_length=1, max_length=MOST_INSTANCES)
    products: frozenset[Product] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _restricts(self) -> "Restriction":
        if self.instances is None and self.products is None:
            raise ValueError("name instances, products or both")
        return self

    @field_serializer("instances", "products")
    def _in_order(self, names: frozenset[str] | None) -> list[str] | None:
        return sorted(names) if names is not None else None

    def admits(self, instance: str, product: Product) -> bool:
        """Whether an instance is seen."""
        is_named = self.instances is None or instance in self.instances
        return is_named and (self.products is None or product in self.products)

    def __str__(self) -> str:
        """For people: `instances sales-eu, support; products salesforce`."""
        parts = (("instances", self.instances), ("products", self.products))
        return "; ".join(f"{name} {', '.join(sorted(found))}" for name, found in parts if found is not None)


class ApiKey(BaseModel):
    """A key as it is stored: never the secret, only its SHA-256."""

    model_config = ConfigDict(frozen=True)

    key_id: str
    secret_hash: str
    tenant: Identifier
    name: str
    roles: frozenset[Role]
    restriction: Restriction | None = None
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
    restriction: Restriction | None = Field(default=None, description="None sees the whole tenant")


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
    restriction: Restriction | None = Field(description="Null for a key that sees the whole tenant")
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
    cursor: str | None = Field(
        default=None, min_length=1, max_length=500, description="`next_cursor` of the page before"
    )


class KeyBody(BaseModel):
    """The key to make."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "siem", "roles": ["SecureScore.Read"]}]}
    )

    name: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")] = Field(
        description="What the key is for; it stands in the audit trail"
    )
    roles: frozenset[Role] = Field(min_length=1, description="At most those of the caller")
    expires_at: Moment | None = Field(default=None, description="When it ends; null for never")
    restriction: Restriction | None = Field(
        default=None, description="What it sees; null for the whole tenant. Not with the role Keys.Manage."
    )
