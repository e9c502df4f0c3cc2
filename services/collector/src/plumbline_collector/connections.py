"""The connections file: which instances to read, how to log in, how often. Secrets stand in it by reference only."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from plumbline_contracts.documents import DocumentError, read_document
from plumbline_contracts.events import Identifier, Insights, Product
from plumbline_contracts.parameters import ParameterSchema
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class ConnectionsError(ValueError):
    """The connections file cannot be used. `problems` are lines `file:line: what is wrong`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class SecretError(ValueError):
    """A secret that is referred to cannot be read; the message names the reference, never the secret."""


def _duration(value: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d{1,9})([smhd])", str(value))
    if match is None or int(match.group(1)) == 0:
        raise ValueError(f"expected a duration such as 60s, 15m or 1h, got {value!r}")
    return timedelta(seconds=int(match.group(1)) * _UNITS[match.group(2)])


def _on_or_off(value: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
    """YAML reads a bare `on` or `off` as a truth value."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Duration = Annotated[timedelta, BeforeValidator(_duration)]


class Entry(BaseModel):
    """Base of everything in the file: immutable, and no key that the format does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SecretReference(Entry):
    """Where a secret lies: a file or an environment variable. Read when it is used, so a rotation is seen."""

    file: Path | None = None
    env: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_a_reference(cls, value: Any) -> Any:  # noqa: ANN401
        if not isinstance(value, dict):
            raise ValueError("a secret is given by reference: {file: PATH} or {env: NAME}, never as text")
        return value

    @field_validator("file")
    @classmethod
    def _is_beside_the_connections(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        """A relative path begins at the connections file's folder, wherever the command is run."""
        folder: Path = (info.context or {}).get("folder", Path())
        return None if file is None else folder / file

    @model_validator(mode="after")
    def _names_one_place(self) -> Self:
        if (self.file is None) == (self.env is None):
            raise ValueError("expected either {file: PATH} or {env: NAME}")
        return self

    def read(self) -> SecretStr:
        """The secret now. Raises SecretError when the file or variable is missing or empty."""
        if self.file is not None:
            try:
                text = self.file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise SecretError(f"the secret file {self.file} cannot be read: {error}") from error
            if not text:
                raise SecretError(f"the secret file {self.file} is empty")
            return SecretStr(text)
        text = os.environ.get(self.env or "", "").strip()
        if not text:
            raise SecretError(f"the environment variable {self.env}, which holds a secret, is not set")
        return SecretStr(text)


class ClientCredentials(Entry):
    """OAuth client credentials."""

    method: Literal["client_credentials"]
    client_id: str
    client_secret: SecretReference


class JwtBearer(Entry):
    """OAuth JWT bearer: a signed assertion for `username`. ServiceNow also wants the client's secret and a key id."""

    method: Literal["jwt_bearer"]
    client_id: str
    username: str
    private_key: SecretReference
    audience: str | None = None
    client_secret: SecretReference | None = None
    key_id: str | None = None


class UsernamePassword(Entry):
    """Salesforce's user name and password flow, for tests; `password` includes the security token."""

    method: Literal["username_password"]
    client_id: str
    client_secret: SecretReference
    username: str
    password: SecretReference


class OAuthPassword(Entry):
    """ServiceNow's OAuth password grant."""

    method: Literal["password"]
    client_id: str
    client_secret: SecretReference
    username: str
    password: SecretReference


class ApiKey(Entry):
    """ServiceNow's REST API key."""

    method: Literal["api_key"]
    key: SecretReference


class Basic(Entry):
    """ServiceNow's basic authentication."""

    method: Literal["basic"]
    username: str
    password: SecretReference


Auth = ClientCredentials | JwtBearer | UsernamePassword | OAuthPassword | ApiKey | Basic

_METHODS = {
    Product.SALESFORCE: ("client_credentials", "jwt_bearer", "username_password"),
    Product.SERVICENOW: ("client_credentials", "jwt_bearer", "api_key", "password", "basic"),
}


class Schedule(Entry):
    """How often to read everything, and how often to look for changes."""

    full: Duration = timedelta(hours=1)
    changes: Duration = timedelta(seconds=60)


class Connection(Entry):
    """How to reach one instance."""

    tenant: Identifier
    instance: Identifier
    product: Product
    url: str
    auth: Annotated[Auth, Field(discriminator="method")]
    insights: Annotated[Insights | None, BeforeValidator(_on_or_off)] = None
    schedule: Schedule = Schedule()
    api_share: float = Field(default=0.1, gt=0, le=1)
    parameters: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    allow_private_network: bool = False
    allow_http: bool = False

    @property
    def key(self) -> str:
        """`tenant/instance`."""
        return f"{self.tenant}/{self.instance}"

    @property
    def label(self) -> str:
        """`product/instance`, for messages."""
        return f"{self.product}/{self.instance}"

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        scheme, _, rest = self.url.partition("://")
        host = rest.partition("/")[0]
        if "@" in self.url:
            raise ValueError("url: a login does not belong in the address; it stands under auth, by reference")
        if scheme not in ("https", "http") or not host:
            raise ValueError(f"url: expected https://HOST, got {self.url!r}")
        if rest.partition("/")[2] or "?" in rest or "#" in rest:
            raise ValueError(f"url: expected a host without a path, got {self.url!r}")
        if scheme == "http" and not self.allow_http:
            raise ValueError("url: plain http needs allow_http: true (for tests and on-premises instances only)")
        if self.auth.method not in _METHODS[self.product]:
            known = ", ".join(_METHODS[self.product])
            raise ValueError(f"auth.method: {self.product} does not know {self.auth.method}; it knows {known}")
        return self


def load(path: Path) -> list[Connection]:
    """The connections in `path`. Raises ConnectionsError with every problem, each with file and line."""
    try:
        document = read_document(path)
    except DocumentError as error:
        raise ConnectionsError([str(error)]) from error
    content = document.content
    if not isinstance(content, dict) or set(content) != {"connections"} or not isinstance(content["connections"], list):
        raise ConnectionsError([document.at((), "expected one key, `connections`, with a list")])
    problems: list[str] = []
    found: dict[str, Connection] = {}
    for number, entry in enumerate(content["connections"]):
        place = ("connections", number)
        try:
            connection = Connection.model_validate(entry, context={"folder": path.absolute().parent})
        except ValidationError as error:
            problems += [document.at((*place, *_loc(e["loc"])), _named(entry, e["msg"])) for e in error.errors()]
            continue
        problems += [document.at((*place, name), text) for name, text in _clashes(connection, found.values())]
        found.setdefault(connection.key, connection)
    if problems:
        raise ConnectionsError(problems)
    return list(found.values())


def parameter_problems(path: Path, controls: Mapping[str, Any]) -> list[str]:
    """What is wrong with the parameters in a well-formed file, each with file and line.

    `controls` is that part of the generated index. A running collector does not ask: it may know another catalogue
    than the evaluator, which makes a control with a wrong parameter UNKNOWN.
    """
    document, problems = read_document(path), []
    for number, entry in enumerate(document.content["connections"]):
        for control, given in (entry.get("parameters") or {}).items():
            for name, problem in _wrong(control, given, controls):
                problems.append(document.at(("connections", number, "parameters", control, *name), problem))
    return problems


def _wrong(
    control: str, given: Mapping[str, Any], controls: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """The key in `given` (none for the control itself) and what is wrong there."""
    if control not in controls:
        yield (), "the catalogue has no such control"
        return
    known = controls[control]["params"]
    for name, value in given.items():
        if name not in known:
            yield (name,), f"{control} has no such parameter; it has {', '.join(known) or 'none'}"
        elif problem := ParameterSchema.model_validate(known[name]).problem_with(value):
            yield (name,), problem


def _clashes(connection: Connection, others: Iterable[Connection]) -> Iterator[tuple[str, str]]:
    """The key of a connection that contradicts one before it, and what is wrong."""
    same_tenant = [other for other in others if other.tenant == connection.tenant]
    if any(other.instance == connection.instance for other in same_tenant):
        yield "instance", f"tenant {connection.tenant} already has an instance {connection.instance}; ids are unique"
    mains = [o for o in same_tenant if o.product is connection.product and o.insights is Insights.MAIN]
    if connection.insights is Insights.MAIN and mains:
        first = f"tenant {connection.tenant} already has a main {connection.product} instance, {mains[0].instance}"
        yield "insights", f"{first}; there is one per product: use on or off here"


def _loc(place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Without the names of the union's members, which stand in no file."""
    methods = {method for known in _METHODS.values() for method in known}
    return tuple(part for part in place if part not in methods)


def _named(entry: Any, message: str) -> str:  # noqa: ANN401
    if not isinstance(entry, dict):
        return message
    who = f"tenant {entry.get('tenant', '?')}, instance {entry.get('instance', '?')}"
    return f"{who}: {message.removeprefix('Value error, ')}"


def choose(connections: list[Connection], wanted: str) -> Connection:
    """The connection named `[TENANT/]ID`. Raises ConnectionsError when there is none, or several."""
    found = [c for c in connections if wanted in (c.key, c.instance)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(c.key for c in connections) or "none"
    if found:
        raise ConnectionsError([f"several tenants have an instance {wanted}; name it TENANT/ID: {known}"])
    raise ConnectionsError([f"no instance {wanted} in the connections file; it has {known}"])
