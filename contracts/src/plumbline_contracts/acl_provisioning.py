"""Grants rights on a broker, and says which others its principals have. Nothing is ever taken away."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest

from plumbline_contracts.acls import Principal
from plumbline_contracts.kafka import KafkaSettings

ANY, MATCH_ALL = 1, 1
ALLOW = 3
EVERY_HOST = "*"
RESOURCES = {"topic": 2, "group": 3, "cluster": 4, "transactional id": 5, "delegation token": 6, "user": 7}
PATTERNS = {"literal": 3, "prefixed": 4}
OPERATIONS = {
    "All": 2, "Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Alter": 7, "Describe": 8, "ClusterAction": 9,
    "DescribeConfigs": 10, "AlterConfigs": 11, "IdempotentWrite": 12, "CreateTokens": 13, "DescribeTokens": 14,
}  # fmt: skip
PERMISSIONS = {2: "must not", ALLOW: "may"}
ERRORS = {
    31: "the login needs Alter and Describe on the cluster; use one of an administrator",
    54: "it has no authorizer, so everybody may do everything; set authorizer.class.name",
}

Codes: TypeAlias = tuple[int, str, int, str, str, int, int]
"""Resource type, name, pattern, principal, host, operation, permission: as the protocol numbers them."""


class AclProvisioningError(RuntimeError):
    """The broker refused to grant or to tell rights; the message holds its reason and what to do."""


@dataclass(frozen=True)
class Granted:
    """What `grant` did: how many rights it granted, how many were there, and what the principals have besides."""

    created: int
    present: int
    others: list[str]


async def grant(settings: KafkaSettings, principals: Iterable[Principal]) -> Granted:
    """Grant what is missing of the principals' rights, and look for others that they have.

    Raises AclProvisioningError when the broker refuses, and aiokafka's KafkaError when it does not answer.
    """
    wanted = {principal.principal: set(_codes(principal)) for principal in principals}
    client = AIOKafkaClient(**settings.client_options())
    await client.bootstrap()
    try:
        found = {principal: await _described(client, principal) for principal in wanted}
        missing = sorted(codes for principal, rights in wanted.items() for codes in rights - found[principal])
        for codes in missing:
            await _create(client, codes)
    finally:
        await client.close()
    others = sorted(_told(codes) for principal, rights in found.items() for codes in rights - wanted[principal])
    return Granted(len(missing), sum(map(len, wanted.values())) - len(missing), others)


def _codes(principal: Principal) -> Iterator[Codes]:
    for rule in principal.rules:
        for operation in rule.operations:
            place = RESOURCES[rule.resource], rule.name, PATTERNS[rule.pattern]
            yield *place, principal.principal, EVERY_HOST, OPERATIONS[operation], ALLOW


async def _described(client: AIOKafkaClient, principal: str) -> set[Codes]:
    request = DescribeAclsRequest(ANY, None, MATCH_ALL, principal, None, ANY, ANY)
    response = await _send(client, request)
    _require(response.error_code, response.error_message, f"told no rights of {principal}")
    return {
        (kind, name, pattern, who, host, operation, permission)
        for kind, name, pattern, acls in response.resources
        for who, host, operation, permission in acls
    }


async def _create(client: AIOKafkaClient, codes: Codes) -> None:
    response = await _send(client, CreateAclsRequest(*codes))
    for code, message in response.creation_responses:
        _require(code, message, f"did not grant that {_told(codes)}")


async def _send(client: AIOKafkaClient, request: Any) -> Any:  # noqa: ANN401 - aiokafka has no types
    return await client.send(client.get_random_node(), request)


def _require(code: int, message: str | None, what: str) -> None:
    if code:
        reason = ERRORS.get(code) or message or for_code(code).__name__
        raise AclProvisioningError(f"the broker {what}: {reason}")


def _told(codes: Codes) -> str:
    """A right as a sentence: `User:x may Read the topic y`."""
    kind, name, pattern, principal, host, operation, permission = codes
    resource = _name(RESOURCES, kind) + (" prefix" if pattern == PATTERNS["prefixed"] else "")
    what = f"{PERMISSIONS.get(permission, permission)} {_name(OPERATIONS, operation)} the {resource} {name}"
    return f"{principal} {what}" + ("" if host == EVERY_HOST else f" from {host}")


def _name(names: dict[str, int], code: int) -> str:
    return next((name for name, number in names.items() if number == code), f"number {code}")
