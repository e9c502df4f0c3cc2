"""What the claims of a verified token say of its caller: tenant, roles and name. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

from plumbline_score_api.keys.schemas import Caller, Role
from plumbline_score_api.tokens.issuers import Issuer, RoleMap
from plumbline_score_api.tokens.verification import Reason, RefusedError

Claims = dict[str, Any]
LONGEST_NAME = 128


def caller_of(issuer: Issuer, claims: Claims) -> Caller:
    """The caller behind verified claims, perhaps without any role. Raises RefusedError when no tenant is meant."""
    for requirement in issuer.require:
        if not set(values_at(claims, requirement.claim)).intersection(requirement.values):
            raise RefusedError(Reason.CLAIM)
    return Caller(
        tenant=_tenant(issuer, claims),
        name=_name(issuer, claims),
        roles=frozenset(_roles(issuer.roles, claims)),
        identity=f"{issuer.issuer}#{claims['sub']}",
    )


def values_at(claims: Claims, path: Iterable[str]) -> list[str]:
    """The text at a path, or the texts of the list there. Empty for anything else."""
    found: Any = claims
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return [value for value in (found if isinstance(found, list) else [found]) if isinstance(value, str)]


def _tenant(issuer: Issuer, claims: Claims) -> str:
    if issuer.tenants is None:
        assert issuer.tenant is not None
        return issuer.tenant
    known = issuer.tenants.map
    meant = {known[value] for value in values_at(claims, issuer.tenants.claim) if value in known}
    if len(meant) != 1:
        raise RefusedError(Reason.TENANT)
    return meant.pop()


def _roles(rule: RoleMap, claims: Claims) -> Iterator[Role]:
    """The roles of the claims' values; a single text (`scp`) may hold several, divided by spaces."""
    own: dict[str, frozenset[Role]] = {role.value: frozenset((role,)) for role in Role}
    meaning = own if rule.map is None else rule.map
    for path in rule.claims:
        values = values_at(claims, path)
        words = values[0].split() if len(values) == 1 else []
        for value in (*values, *words):
            yield from meaning.get(value, ())


def _name(issuer: Issuer, claims: Claims) -> str:
    """For people and the audit trail; never decides anything."""
    names = (" ".join(values_at(claims, path)) for path in issuer.name_claims)
    name = next((name for name in names if name), str(claims["sub"]))
    return "".join(c if c.isprintable() else "?" for c in name)[:LONGEST_NAME]
