"""The collector's settings, read once from the environment."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`PLUMBLINE_COLLECTOR_…`; what all services share stands under `PLUMBLINE_…`."""

    model_config = SettingsConfigDict(env_prefix="PLUMBLINE_COLLECTOR_", frozen=True, extra="ignore")

    name: str = Field(default="collector-0", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    spool_dir: Path = Path("/var/lib/plumbline/spool")
    concurrency: int = Field(default=4, ge=1, le=64)
    health_host: str = "127.0.0.1"
    health_port: int = Field(default=0, ge=0, le=65535)
    collection_timeout_seconds: float = Field(default=3600, gt=0)
    publish_timeout_seconds: float = Field(default=60, gt=0)
    startup_timeout_seconds: float = Field(default=60, gt=0)
    connections: Path = Field(default=Path("connections.yaml"), validation_alias="PLUMBLINE_CONNECTIONS")
    log_format: Literal["json", "console"] = Field(default="console", validation_alias="PLUMBLINE_LOG_FORMAT")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", validation_alias="PLUMBLINE_LOG_LEVEL"
    )

    @property
    def own_spool_dir(self) -> Path:
        """The folder of this replica alone, so that replicas which share a disk leave each other's spools in peace."""
        return self.spool_dir / self.name
