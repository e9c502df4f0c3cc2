"""The evaluator's settings, read once from the environment."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from plumbline_evaluator.catalogue.location import default_folder


class Settings(BaseSettings):
    """`PLUMBLINE_EVALUATOR_…`; what all services share stands under `PLUMBLINE_…`."""

    model_config = SettingsConfigDict(env_prefix="PLUMBLINE_EVALUATOR_", frozen=True, extra="ignore")

    name: str = Field(default="evaluator-0", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    health_host: str = "127.0.0.1"
    health_port: int = Field(default=0, ge=0, le=65535)
    exposed_per_control: int = Field(default=10_000, ge=0, le=1_000_000)
    bad_records_in_a_row: int = Field(default=50, ge=1)
    startup_timeout_seconds: float = Field(default=60, gt=0)
    session_timeout_seconds: float = Field(
        default=10, ge=6, le=300, description="How long the group waits for a silent replica; brokers refuse less"
    )
    controls: Path = Field(default_factory=default_folder, validation_alias="PLUMBLINE_CONTROLS")
    custom_controls: Path | None = Field(default=None, validation_alias="PLUMBLINE_CUSTOM_CONTROLS")
    log_format: Literal["json", "console"] = Field(default="console", validation_alias="PLUMBLINE_LOG_FORMAT")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", validation_alias="PLUMBLINE_LOG_LEVEL"
    )
