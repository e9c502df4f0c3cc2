"""The score API's settings, read once from the environment."""

from pathlib import Path
from typing import Literal
from uuid import UUID

from plumbline_contracts.events import Identifier
from plumbline_contracts.tenant_topics import TenantList
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

EXPORTS_AT_ONCE = 8


class Settings(BaseSettings):
    """`PLUMBLINE_SCORE_API_…`; what all services share stands under `PLUMBLINE_…`. The database URL is a secret.

    A client that takes less than a kilobyte a second of its answer for `answer_timeout_seconds` is cut off.
    `issuers` is the file of trusted issuers of tokens; a limit of 0 is none; `trusted_proxies` are addresses and
    networks whose `X-Forwarded-For` is believed. `history_days` is for how long a point per change is kept,
    `daily_history_days` a point per day; 0 is for ever. An instance of which nothing newer came for
    `stale_after_hours` is stale; give more where a full collection is rarer than that. `webhook_…` bounds what is sent
    to webhooks at once and for how long an answer is waited for; `webhooks_allow_…` is for receivers in the own
    network, and for tests. Streams of events do not count as `requests_at_once`; of `exports_at_once` one tenant has at
    most a half. `public_url` is where callers reach the API, without a path of ours; `azure_tenants` is tenant to the
    GUID that Graph clients know it by, as JSON. SIEMs are told of findings that passed from the beginning only with
    `findings_baseline_pass`, and get names of people only with `findings_names`; `findings_tenant_topics` are the
    tenants with a topic of findings of their own, separated by commas or as a JSON list; `contracts topics create`
    makes the topics.
    """

    model_config = SettingsConfigDict(env_prefix="PLUMBLINE_SCORE_API_", frozen=True, extra="ignore")

    name: str = Field(default="score-api-0", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    health_host: str = "127.0.0.1"
    health_port: int = Field(default=0, ge=0, le=65535)
    bad_records_in_a_row: int = Field(default=50, ge=1)
    startup_timeout_seconds: float = Field(default=60, gt=0)
    request_timeout_seconds: float = Field(default=10, gt=0)
    answer_timeout_seconds: float = Field(default=30, gt=0)
    access_log: bool = True
    requests_at_once: int = Field(default=200, ge=1)
    streams_at_once: int = Field(default=500, ge=1)
    streams_per_tenant: int = Field(default=50, ge=1)
    exports_at_once: int = Field(default=EXPORTS_AT_ONCE, ge=1)
    history_days: int = Field(default=730, ge=0)
    daily_history_days: int = Field(default=0, ge=0)
    stale_after_hours: float = Field(default=24, gt=0, le=24 * 365)
    change_log_days: int = Field(default=7, ge=1)
    webhook_log_days: int = Field(default=30, ge=4)
    webhooks_at_once: int = Field(default=32, ge=1, le=1000)
    webhook_timeout_seconds: float = Field(default=15, gt=0, le=60)
    webhooks_allow_http: bool = False
    webhooks_allow_private_network: bool = False
    findings_baseline_pass: bool = False
    findings_names: bool = False
    issuers: Path | None = None
    requests_per_minute: int = Field(default=6000, ge=0)
    failed_logins_per_minute: int = Field(default=30, ge=0)
    trusted_proxies: str = Field(default="", pattern=r"^[0-9A-Fa-f.:/, ]*$")
    public_url: str | None = Field(default=None, max_length=500, pattern=r"^https?://[^\s?#@\"\\]+$")
    findings_tenant_topics: TenantList = ()
    azure_tenants: dict[Identifier, UUID] = Field(default_factory=dict)
    mongodb_url: SecretStr = Field(
        default=SecretStr("mongodb://127.0.0.1:27017/plumbline"), validation_alias="PLUMBLINE_MONGODB_URL"
    )
    log_format: Literal["json", "console"] = Field(default="console", validation_alias="PLUMBLINE_LOG_FORMAT")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", validation_alias="PLUMBLINE_LOG_LEVEL"
    )
