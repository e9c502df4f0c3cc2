"""How every service reaches the broker: one set of environment variables, one translation for aiokafka.

Variables: `PLUMBLINE_KAFKA_BOOTSTRAP`, `PLUMBLINE_TOPIC_PREFIX`, `PLUMBLINE_KAFKA_SECURITY_PROTOCOL`,
`PLUMBLINE_KAFKA_SASL_MECHANISM`, `…_SASL_USERNAME`, `…_SASL_PASSWORD_FILE`, `…_SSL_CAFILE`, `…_SSL_CERTFILE`,
`…_SSL_KEYFILE`.
"""

import ssl
from pathlib import Path
from typing import Any, Literal, Self

from aiokafka.helpers import create_ssl_context
from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from plumbline_contracts.topics import DEFAULT_PREFIX, physical_name


class KafkaSettings(BaseSettings):
    """Where the broker is, how to log in, and the prefix of our topics."""

    model_config = SettingsConfigDict(env_prefix="PLUMBLINE_", frozen=True, extra="ignore")

    kafka_bootstrap: str = "127.0.0.1:9092"
    topic_prefix: str = Field(default=DEFAULT_PREFIX, pattern=r"^[A-Za-z0-9._-]{0,100}$")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str | None = None
    kafka_sasl_password_file: Path | None = None
    kafka_ssl_cafile: Path | None = None
    kafka_ssl_certfile: Path | None = None
    kafka_ssl_keyfile: Path | None = None

    @model_validator(mode="after")
    def _has_credentials(self) -> Self:
        if self.kafka_security_protocol.startswith("SASL") and not (
            self.kafka_sasl_username and self.kafka_sasl_password_file
        ):
            raise ValueError(
                f"PLUMBLINE_KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol} needs "
                "PLUMBLINE_KAFKA_SASL_USERNAME and PLUMBLINE_KAFKA_SASL_PASSWORD_FILE"
            )
        return self

    def topic(self, name: str) -> str:
        """The physical name of a topic of the registry."""
        return physical_name(name, self.topic_prefix)

    def group(self, service: str) -> str:
        """The consumer group of a service."""
        return f"{self.topic_prefix}{service}"

    def _ssl_context(self) -> ssl.SSLContext | None:
        if not self.kafka_security_protocol.endswith("SSL"):
            return None
        context: ssl.SSLContext = create_ssl_context(
            cafile=self.kafka_ssl_cafile, certfile=self.kafka_ssl_certfile, keyfile=self.kafka_ssl_keyfile
        )
        return context

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments for any aiokafka client. Reads the password file; OSError when it cannot be read."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.kafka_bootstrap,
            "security_protocol": self.kafka_security_protocol,
            "ssl_context": self._ssl_context(),
        }
        if self.kafka_security_protocol.startswith("SASL") and self.kafka_sasl_password_file:
            options |= {
                "sasl_mechanism": self.kafka_sasl_mechanism,
                "sasl_plain_username": self.kafka_sasl_username,
                "sasl_plain_password": self.kafka_sasl_password_file.read_text().strip(),
            }
        return options
