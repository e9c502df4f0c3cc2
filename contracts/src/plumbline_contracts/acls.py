"""Who may do what on the broker: the least rights of every principal, derived from the topic registry.

A service, the provisioning and every SIEM have a principal of their own. What a consumer group, a principal or a
topic is called begins with the topic prefix, so that two installations on one broker stay apart.
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import yaml

from plumbline_contracts.tenant_topics import tenant_topics
from plumbline_contracts.topics import DEFAULT_PREFIX, OUTSIDER, Topic, registry

Operation: TypeAlias = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]
Form: TypeAlias = Literal["commands", "json", "yaml"]

PROVISIONING = "provisioning"
FINDINGS = "compliance-findings"


class AclError(ValueError):
    """Rights that cannot be derived; the message names what is wrong."""


@dataclass(frozen=True)
class Rule:
    """Operations that are allowed on one resource, or with `prefixed` on all whose names begin so."""

    resource: Literal["topic", "group"]
    name: str
    operations: tuple[Operation, ...]
    pattern: Literal["literal", "prefixed"] = "literal"


@dataclass(frozen=True)
class Principal:
    """One login at the broker. `name` is the service's or the SIEM's, `principal` what the broker calls it."""

    name: str
    principal: str
    purpose: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Installation:
    """What rights are derived for: topic prefix, the operator's own SIEMs, tenants with topics of their own.

    `principals` replaces the broker's names of some, such as `collector` by `User:CN=collector`.
    """

    prefix: str = DEFAULT_PREFIX
    siems: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    principals: Mapping[str, str] = field(default_factory=dict)

    def topics(self) -> list[Topic]:
        """All topics, those of tenants too. Raises ValueError when a tenant cannot have one."""
        return [*registry().topics, *tenant_topics(self.tenants)]


def principals(installation: Installation) -> list[Principal]:
    """All principals with their rights. Raises AclError when a name cannot be used."""
    try:
        topics = installation.topics()
    except ValueError as error:
        raise AclError(str(error)) from error
    named = [
        *(_service(name, topics, installation) for name in _services(topics)),
        _provisioning(topics, installation),
        *(_siem(name, installation) for name in installation.siems),
        *(_tenant_siem(name, installation) for name in installation.tenants),
    ]
    if unknown := installation.principals.keys() - {each.name for each in named}:
        raise AclError(f"no principal {', '.join(sorted(unknown))}; there are {', '.join(each.name for each in named)}")
    by_login: dict[str, str] = {}
    for each in named:
        if (other := by_login.setdefault(each.principal, each.name)) != each.name:
            raise AclError(f"{each.principal} would be {other} and {each.name}; every one needs a principal of its own")
    return named


def _services(topics: Iterable[Topic]) -> list[str]:
    named = {name for topic in topics for name in (*topic.producers, *topic.consumers)}
    return sorted(named - {OUTSIDER})


def _principal(name: str, purpose: str, rules: Iterable[Rule], installation: Installation) -> Principal:
    login = installation.principals.get(name, f"User:{installation.prefix}{name}")
    kind, _, who = login.partition(":")
    if not kind or not who or who == "*":
        raise AclError(f"{login!r} is no principal of {name}: expected User:NAME, and not everybody")
    return Principal(name, login, purpose, tuple(rules))


def _service(name: str, topics: list[Topic], installation: Installation) -> Principal:
    prefix = installation.prefix
    rules = list(_service_topics(name, topics, prefix))
    if any(name in topic.members for topic in topics):
        rules.append(Rule("group", f"{prefix}{name}", ("Read",)))
    return _principal(name, f"The service {name}", rules, installation)


def _service_topics(name: str, topics: Iterable[Topic], prefix: str) -> Iterator[Rule]:
    for topic in topics:
        reads: tuple[Operation, ...] = ("Read",) if name in topic.consumers else ()
        writes: tuple[Operation, ...] = ("Write",) if name in topic.producers else ()
        if reads or writes:
            yield Rule("topic", f"{prefix}{topic.name}", (*reads, *writes, "Describe"))


def _provisioning(topics: Iterable[Topic], installation: Installation) -> Principal:
    """It creates topics and compares their configuration; it neither reads, writes, alters nor grants."""
    rules = [
        Rule("topic", f"{installation.prefix}{topic.name}", ("Create", "Describe", "DescribeConfigs"))
        for topic in topics
    ]
    return _principal(PROVISIONING, "`contracts topics create`", rules, installation)


def _siem(name: str, installation: Installation) -> Principal:
    if not name or "/" in name:
        raise AclError(f"{name!r} is no name of a SIEM: expected some characters without a slash")
    return _reader(f"siem.{name}", f"siem/{name}/", FINDINGS, f"The operator's SIEM {name}", installation)


def _tenant_siem(tenant: str, installation: Installation) -> Principal:
    topic = f"{FINDINGS}.{tenant}"
    return _reader(
        f"tenant-siem.{tenant}", f"tenant-siem/{tenant}/", topic, f"The SIEM of the tenant {tenant}", installation
    )


def _reader(name: str, groups: str, topic: str, purpose: str, installation: Installation) -> Principal:
    """One topic, and every consumer group below a prefix. Names hold no slash, so no prefix begins another one."""
    rules = [
        Rule("topic", f"{installation.prefix}{topic}", ("Read", "Describe")),
        Rule("group", f"{installation.prefix}{groups}", ("Read",), "prefixed"),
    ]
    return _principal(name, purpose, rules, installation)


# --- forms -----------------------------------------------------------------------------------------------------------


def render(named: Iterable[Principal], form: Form) -> str:
    """The rights as text: commands of Kafka's kafka-acls.sh, JSON or YAML."""
    match form:
        case "commands":
            return "\n".join(_commands(named)) + "\n"
        case "json":
            return json.dumps(_document(named), indent=2) + "\n"
        case "yaml":
            return yaml.safe_dump(_document(named), sort_keys=False, width=120)


def _commands(named: Iterable[Principal]) -> Iterator[str]:
    yield "# BOOTSTRAP is the broker's address, ADMIN_CONFIG a client configuration of an administrator."
    for each in named:
        yield f"\n# {each.purpose}"
        for rule in each.rules:
            words = ["--add", "--allow-principal", each.principal]
            words += [word for operation in rule.operations for word in ("--operation", operation)]
            words += [f"--{rule.resource}", rule.name, "--resource-pattern-type", rule.pattern]
            stated = " ".join(map(shlex.quote, words))
            yield f'kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config "$ADMIN_CONFIG" {stated}'


def _document(named: Iterable[Principal]) -> dict[str, Any]:
    return {
        "principals": [
            {
                "name": each.name,
                "principal": each.principal,
                "purpose": each.purpose,
                "acls": [
                    {
                        "resource": {"type": rule.resource, "name": rule.name, "patternType": rule.pattern},
                        "operations": list(rule.operations),
                    }
                    for rule in each.rules
                ],
            }
            for each in named
        ]
    }
