"""The issuers file: whose tokens are trusted, and what their claims mean here. It never holds a secret."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from plumbline_contracts.documents import Document, DocumentError, read_document
from plumbline_contracts.events import Identifier
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from plumbline_score_api.keys.schemas import Role

MOST_ISSUERS = 100

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures that only the holder of a private key can make; nothing else can be configured."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class IssuersError(ValueError):
    """The issuers file cannot be used. `problems` are lines `file:line: what is wrong`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class TokenType(StrEnum):
    """The header `typ` of a token, without `application/`; `absent` when there is none."""

    ACCESS_TOKEN = "at+jwt"  # noqa: S105 - a media type
    JWT = "JWT"
    ABSENT = "absent"


class Preset(StrEnum):
    """Vendors whose tokens are known."""

    ENTRA_ID = "entra-id"
    KEYCLOAK = "keycloak"
    OKTA = "okta"


def _as_list(value: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
    return value if isinstance(value, list) else [value]


def _as_path(value: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
    """`realm_access.roles` as its steps; a list holds the exact names, for those with a dot."""
    return value.split(".") if isinstance(value, str) else value


def _as_paths(value: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
    return [_as_path(each) for each in value] if isinstance(value, list) else [_as_path(value)]


ClaimPath = Annotated[tuple[Text, ...], BeforeValidator(_as_path), Field(min_length=1, max_length=8)]
Paths = Annotated[tuple[ClaimPath, ...], BeforeValidator(_as_paths), Field(min_length=1, max_length=8)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_as_list), Field(min_length=1)]
Roles = Annotated[frozenset[Role], BeforeValidator(_as_list)]


class Entry(BaseModel):
    """Base of everything in the file: immutable, and no key that the format does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TenantMap(Entry):
    """Which tenant a token opens, by a claim; a value that is not listed opens none."""

    claim: ClaimPath
    map: dict[Text, Identifier] = Field(min_length=1)


class RoleMap(Entry):
    """Which roles a token gives: the values of some claims, translated. Without `map` they are our roles' names."""

    claims: Paths = (("roles",),)
    map: dict[Text, Roles] | None = None


class Requirement(Entry):
    """A claim that every token must have, with one of these values."""

    claim: ClaimPath
    values: Texts


_PRESETS: dict[Preset, dict[str, Any]] = {
    Preset.ENTRA_ID: {
        "algorithms": ["RS256"],
        "types": ["JWT"],
        "name_claims": ["preferred_username", "upn", "azp", "appid"],
        "roles": {"claims": ["roles"]},
    },
    Preset.KEYCLOAK: {
        "types": ["JWT", "at+jwt"],
        "name_claims": ["preferred_username", "azp"],
        "roles": {"claims": ["realm_access.roles"]},
        "require": [{"claim": "typ", "values": "Bearer"}],
    },
    Preset.OKTA: {
        "types": ["absent", "JWT", "at+jwt"],
        "name_claims": ["sub", "cid"],
        "roles": {"claims": ["groups", "scp"]},
    },
}
"""What a vendor's tokens look like, unless the file says otherwise."""


class Issuer(Entry):
    """One trusted issuer."""

    issuer: Text
    audience: Texts
    preset: Preset | None = None
    tenant: Identifier | None = None
    tenants: TenantMap | None = None
    roles: RoleMap = RoleMap()
    name_claims: Paths = (("preferred_username",), ("client_id",))
    require: tuple[Requirement, ...] = ()
    types: Annotated[frozenset[TokenType], BeforeValidator(_as_list), Field(min_length=1)] = frozenset(
        (TokenType.ACCESS_TOKEN, TokenType.JWT)
    )
    algorithms: Annotated[frozenset[Algorithm], BeforeValidator(_as_list), Field(min_length=1)] = frozenset(
        ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
    )
    allow_private_network: bool = False
    allow_http: bool = False

    @property
    def discovery_url(self) -> str:
        """Where the issuer describes itself."""
        return f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, entry: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
        """What the file leaves out comes from the preset, key by key; `roles` also inside."""
        if not isinstance(entry, dict) or entry.get("preset") not in tuple(Preset):
            return entry
        defaults = _PRESETS[Preset(entry["preset"])]
        merged = {**defaults, **entry}
        if isinstance(entry.get("roles"), dict):
            merged["roles"] = {**defaults["roles"], **entry["roles"]}
        return merged

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        url = urlsplit(self.issuer)
        if url.scheme not in ("https", "http") or not url.hostname or url.query or url.fragment or "@" in url.netloc:
            raise ValueError(f"issuer: expected https://HOST/PATH as it stands in the tokens, got {self.issuer!r}")
        if url.scheme == "http" and not self.allow_http:
            raise ValueError("issuer: plain http needs allow_http: true (for tests only)")
        if (self.tenant is None) == (self.tenants is None):
            raise ValueError("tenant: give either tenant, for all its tokens, or tenants, with a claim and a map")
        return self


def load(path: Path) -> list[Issuer]:
    """The issuers in `path`. Raises IssuersError with every problem, each with file and line."""
    try:
        document = read_document(path)
    except DocumentError as error:
        raise IssuersError([str(error)]) from error
    content = document.content
    if not isinstance(content, dict) or set(content) != {"issuers"} or not isinstance(content["issuers"], list):
        raise IssuersError([document.at((), "expected one key, `issuers`, with a list")])
    if len(content["issuers"]) > MOST_ISSUERS:
        raise IssuersError([document.at(("issuers",), f"there are more than {MOST_ISSUERS}")])
    problems: list[str] = []
    found: list[Issuer] = []
    for number, entry in enumerate(content["issuers"]):
        place = ("issuers", number)
        try:
            issuer = Issuer.model_validate(entry)
        except ValidationError as error:
            problems += _problems(document, place, error)
            continue
        problems += [document.at((*place, "issuer"), text) for text in _clashes(issuer, found)]
        found.append(issuer)
    if problems:
        raise IssuersError(problems)
    return found


def _problems(document: Document, place: tuple[int | str, ...], error: ValidationError) -> Iterator[str]:
    for each in error.errors():
        message = each["msg"].removeprefix("Value error, ")
        named, _, rest = message.partition(": ")
        if not each["loc"] and named in Issuer.model_fields:
            yield document.at((*place, named), rest)
        else:
            yield document.at((*place, *each["loc"]), message)


def _clashes(issuer: Issuer, others: Iterable[Issuer]) -> Iterator[str]:
    if any(other.issuer == issuer.issuer for other in others):
        yield "stands here twice; one entry with several audiences, and tenants by a claim, serves all its tokens"
