"""How every service reaches the broker: one set of environment variables, one translation for aiokafka.

`PLUMBLINE_KAFKA_BOOTSTRAP`, `PLUMBLINE_TOPIC_PREFIX`, and the security settings `PLUMBLINE_KAFKA_…`: security protocol,
SASL (PLAIN, SCRAM, OAUTHBEARER), certificates. docs/how-to/secure-kafka.md lists them all.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

from aiokafka.errors import KafkaError
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from plumbline_contracts.topics import DEFAULT_PREFIX, physical_name

PROTOCOL = "PLUMBLINE_KAFKA_SECURITY_PROTOCOL"
MECHANISM = "PLUMBLINE_KAFKA_SASL_MECHANISM"
USER_FIELDS = frozenset(
    {"kafka_sasl_username", "kafka_sasl_username_file", "kafka_sasl_password", "kafka_sasl_password_file"}
)


class SecurityFileError(RuntimeError):
    """A file that a security setting names cannot be used; the message names the setting, the file and why."""


class TokenError(KafkaError):  # type: ignore[misc]
    """No access token for the broker; the message names the token endpoint and the reason, never a secret.

    It is `retriable` unless the endpoint refused the client.
    """

    def __init__(self, message: str, *, retriable: bool = True) -> None:
        super().__init__(message)
        self.retriable = retriable


class KafkaSettings(BaseSettings):
    """Where the broker is, how to log in, and the prefix of our topics.

    A user, a password and a client secret are given by value or, with `…_FILE`, by a file that holds it. Settings that
    do not go together are refused, so that no credential is ignored or sent unencrypted by mistake. The broker's
    certificate and host name are always verified.
    """

    model_config = SettingsConfigDict(env_prefix="PLUMBLINE_", frozen=True, extra="ignore", hide_input_in_errors=True)

    kafka_bootstrap: str = "127.0.0.1:9092"
    topic_prefix: str = Field(default=DEFAULT_PREFIX, pattern=r"^[A-Za-z0-9._-]{0,100}$")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = "SCRAM-SHA-512"
    kafka_sasl_username: str | None = None
    kafka_sasl_username_file: Path | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_sasl_password_file: Path | None = None
    kafka_oauth_token_endpoint: str | None = Field(default=None, pattern=r"^https://[^\s/?#@]+(/[^\s?#]*)?$")
    kafka_oauth_client_id: str | None = None
    kafka_oauth_client_secret: SecretStr | None = None
    kafka_oauth_client_secret_file: Path | None = None
    kafka_oauth_scope: str | None = None
    kafka_oauth_cafile: Path | None = None
    kafka_ssl_cafile: Path | None = None
    kafka_ssl_certfile: Path | None = None
    kafka_ssl_keyfile: Path | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if problems := [*self._missing(), *self._ambiguous(), *self._ignored(), *self._unencrypted()]:
            raise ValueError("; ".join(problems))
        return self

    @property
    def _has_sasl(self) -> bool:
        return self.kafka_security_protocol.startswith("SASL")

    @property
    def _has_tls(self) -> bool:
        return self.kafka_security_protocol.endswith("SSL")

    @property
    def _has_tokens(self) -> bool:
        return self._has_sasl and self.kafka_sasl_mechanism == "OAUTHBEARER"

    def _given(self, start: str) -> list[str]:
        return [name for name in type(self).model_fields if name.startswith(start) and getattr(self, name) is not None]

    def _missing(self) -> Iterator[str]:
        if self._has_tokens:
            needed = ["kafka_oauth_token_endpoint", "kafka_oauth_client_id", "kafka_oauth_client_secret"]
        elif self._has_sasl:
            needed = ["kafka_sasl_username", "kafka_sasl_password"]
        else:
            needed = []
        given = {name.removesuffix("_file") for name in self._given("kafka_") if getattr(self, name)}
        if absent := [_told(name) for name in needed if name not in given]:
            stated = f"{PROTOCOL}={self.kafka_security_protocol} with {MECHANISM}={self.kafka_sasl_mechanism}"
            yield f"{stated} needs {' and '.join(absent)}"
        if self.kafka_ssl_keyfile and not self.kafka_ssl_certfile:
            yield f"{_variable('kafka_ssl_keyfile')} needs {_variable('kafka_ssl_certfile')}"

    def _ambiguous(self) -> Iterator[str]:
        given = self._given("kafka_")
        for name in given:
            if f"{name}_file" in given:
                yield f"{_variable(name)} and {_variable(name)}_FILE are both set; unset one of them"

    def _ignored(self) -> Iterator[str]:
        """Credentials that the chosen protocol or mechanism would never use."""
        users = [name for name in self._given("kafka_sasl_") if name in USER_FIELDS]
        tokens = self._given("kafka_oauth_")
        certificates = self._given("kafka_ssl_")
        if not self._has_sasl and (users or tokens):
            yield f"{_variables(users + tokens)} would be ignored: set {PROTOCOL}=SASL_SSL"
        elif users and self._has_tokens:
            yield f"{_variables(users)} would be ignored with {MECHANISM}=OAUTHBEARER: unset it, or choose a SCRAM"
        elif tokens and not self._has_tokens:
            yield f"{_variables(tokens)} would be ignored: set {MECHANISM}=OAUTHBEARER"
        if certificates and not self._has_tls:
            wanted = "SASL_SSL" if self._has_sasl or users or tokens else "SSL"
            yield f"{_variables(certificates)} would be ignored: set {PROTOCOL}={wanted}"

    def _unencrypted(self) -> Iterator[str]:
        if self.kafka_security_protocol == "SASL_PLAINTEXT" and self.kafka_sasl_mechanism in ("PLAIN", "OAUTHBEARER"):
            yield (
                f"{MECHANISM}={self.kafka_sasl_mechanism} would show its secret to the network: set {PROTOCOL}=SASL_SSL"
            )

    @property
    def login(self) -> str:
        """How the client makes itself known, for messages: never a secret."""
        if self._has_tokens:
            return f"the OAuth client {self.kafka_oauth_client_id}"
        if self._has_sasl:
            return f"the user {self.kafka_sasl_username or f'in {self.kafka_sasl_username_file}'}"
        return f"the certificate {self.kafka_ssl_certfile}" if self.kafka_ssl_certfile else "no login"

    def topic(self, name: str) -> str:
        """The physical name of a topic of the registry, or of a tenant's own topic."""
        return physical_name(name, self.topic_prefix)

    def group(self, service: str) -> str:
        """The consumer group of a service."""
        return f"{self.topic_prefix}{service}"

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments for any aiokafka client, secrets among them.

        Reads the files of the security settings. Raises SecurityFileError when one cannot be used.
        """
        return {
            "bootstrap_servers": self.kafka_bootstrap,
            "security_protocol": self.kafka_security_protocol,
            "ssl_context": self._ssl_context() if self._has_tls else None,
            **(self._sasl_options() if self._has_sasl else {}),
        }

    def _ssl_context(self) -> ssl.SSLContext:
        context = _trusting("kafka_ssl_cafile", self.kafka_ssl_cafile)
        if self.kafka_ssl_certfile:
            certificate, key = self.kafka_ssl_certfile, self.kafka_ssl_keyfile
            for name, path in (("kafka_ssl_certfile", certificate), ("kafka_ssl_keyfile", key)):
                _read(name, path)
            what = "expected PEM: the certificate, and its own private key without a passphrase"
            with _blaming("kafka_ssl_certfile" if key is None else "kafka_ssl_keyfile", key or certificate, what):
                context.load_cert_chain(certificate, key, password=_no_passphrase)
        return context

    def _sasl_options(self) -> dict[str, Any]:
        if self._has_tokens:
            return {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": self._token_provider()}
        return {
            "sasl_mechanism": self.kafka_sasl_mechanism,
            "sasl_plain_username": self._value("kafka_sasl_username"),
            "sasl_plain_password": self._value("kafka_sasl_password"),
        }

    def _token_provider(self) -> Any:  # noqa: ANN401 - httpx is imported by those alone who use tokens
        from plumbline_contracts.kafka_tokens import ClientCredentials

        self._value("kafka_oauth_client_secret")  # a file that is missing is told at the start
        return ClientCredentials(
            str(self.kafka_oauth_token_endpoint),
            str(self.kafka_oauth_client_id),
            lambda: self._value("kafka_oauth_client_secret"),
            scope=self.kafka_oauth_scope,
            context=_trusting("kafka_oauth_cafile", self.kafka_oauth_cafile),
        )

    def _value(self, name: str) -> str:
        """A setting that stands in the environment or in the file of `…_FILE`."""
        given = getattr(self, name)
        if given is not None:
            return given.get_secret_value() if isinstance(given, SecretStr) else str(given)
        path: Path = getattr(self, f"{name}_file")
        text = _read(f"{name}_file", path).strip()
        if not text:
            raise SecurityFileError(f"{_variable(name)}_FILE={path} is empty")
        return text


def _variable(field: str) -> str:
    return f"PLUMBLINE_{field.upper()}"


def _variables(fields: list[str]) -> str:
    return ", ".join(map(_variable, fields))


def _told(field: str) -> str:
    """A setting's variable, and that of its file if there is one."""
    has_file = f"{field}_file" in KafkaSettings.model_fields
    return f"{_variable(field)} or {_variable(field)}_FILE" if has_file else _variable(field)


def _read(field: str, path: Path | None) -> str:
    """The text of a file; nothing without one. Raises SecurityFileError."""
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SecurityFileError(f"{_variable(field)}={path} cannot be read: {reason}") from error


def _trusting(field: str, cafile: Path | None) -> ssl.SSLContext:
    """A context that trusts the authorities of the file alone, or without one those of the system."""
    _read(field, cafile)
    with _blaming(field, cafile, "expected the authorities' certificates in PEM"):
        return ssl.create_default_context(cafile=cafile)


@contextmanager
def _blaming(field: str, path: Path | None, expected: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        reason = error.reason or "not usable"
        raise SecurityFileError(f"{_variable(field)}={path} cannot be used ({reason}): {expected}") from error


def _no_passphrase() -> NoReturn:
    """Without it OpenSSL would ask on the terminal."""
    raise SecurityFileError(
        f"{_variable('kafka_ssl_keyfile')}: the private key is encrypted; give it without a passphrase, "
        "in a file that the service alone may read"
    )
