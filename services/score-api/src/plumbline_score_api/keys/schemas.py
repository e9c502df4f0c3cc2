"""What a key is."""

from datetime import datetime
from enum import StrEnum

from plumbline_contracts.events import Identifier
from pydantic import BaseModel, ConfigDict


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
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class Caller(BaseModel):
    """Who asks: everything is seen through the tenant."""

    model_config = ConfigDict(frozen=True)

    tenant: Identifier
    name: str
    roles: frozenset[Role]
