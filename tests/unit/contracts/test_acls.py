"""Rights derived from the topic registry: all that a principal needs, nothing else, in three forms."""

import json
import shlex
from collections.abc import Iterator
from itertools import pairwise, permutations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from plumbline_contracts.acls import AclError, Installation, Principal, Rule, principals, render
from plumbline_contracts.topics import registry

SERVICES = {"collector", "evaluator", "score-api-project", "score-api-serve"}
BUSY = Installation(siems=("splunk",), tenants=("contoso", "fabrikam"))
TENANTS = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True).filter(lambda name: not name.endswith("dlq"))
SIEMS = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1)


def _rules(installation: Installation, name: str) -> dict[tuple[str, str, str], set[str]]:
    (found,) = [principal for principal in principals(installation) if principal.name == name]
    return {(rule.resource, rule.pattern, rule.name): set(rule.operations) for rule in found.rules}


def test_every_service_of_the_registry_has_a_principal_of_its_own() -> None:
    named = principals(Installation())

    assert {principal.name for principal in named} == {*SERVICES, "provisioning"}
    assert len({principal.principal for principal in named}) == len(named)
    assert all(principal.principal == f"User:plumbline.{principal.name}" for principal in named)


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_service_reads_and_writes_what_the_registry_says(service: str) -> None:
    rules = _rules(Installation(), service)

    for topic in registry().topics:
        wanted = {"Read"} if service in topic.consumers else set()
        wanted |= {"Write"} if service in topic.producers else set()
        assert rules.pop(("topic", "literal", f"plumbline.{topic.name}"), set()) == (wanted and {*wanted, "Describe"})
    has_group = any(service in topic.members for topic in registry().topics)
    assert rules == ({("group", "literal", f"plumbline.{service}"): {"Read"}} if has_group else {})


def test_who_reads_by_position_writes_no_dead_letters() -> None:
    assert ("topic", "literal", "plumbline.instance-status.dlq") not in _rules(Installation(), "collector")
    assert ("topic", "literal", "plumbline.control-catalogue.dlq") not in _rules(Installation(), "evaluator")
    assert ("topic", "literal", "plumbline.control-catalogue.dlq") in _rules(Installation(), "score-api-project")


def test_a_siem_reads_one_topic_in_groups_of_its_own() -> None:
    assert _rules(BUSY, "siem.splunk") == {
        ("topic", "literal", "plumbline.compliance-findings"): {"Read", "Describe"},
        ("group", "prefixed", "plumbline.siem/splunk/"): {"Read"},
    }
    assert _rules(BUSY, "tenant-siem.contoso") == {
        ("topic", "literal", "plumbline.compliance-findings.contoso"): {"Read", "Describe"},
        ("group", "prefixed", "plumbline.tenant-siem/contoso/"): {"Read"},
    }


def test_the_projector_alone_writes_the_topics_of_tenants() -> None:
    writers = {
        principal.name
        for principal in principals(BUSY)
        for rule in principal.rules
        if rule.name.startswith("plumbline.compliance-findings.") and "Write" in rule.operations
    }

    assert writers == {"score-api-project"}


def test_the_provisioning_neither_reads_nor_writes_nor_alters() -> None:
    rules = _rules(BUSY, "provisioning")

    assert len(rules) == len(registry().topics) + len(BUSY.tenants)
    assert set().union(*rules.values()) == {"Create", "Describe", "DescribeConfigs"}


@given(
    st.sets(TENANTS.map(lambda name: name.replace("_", "-").replace(".", "-")), max_size=5), st.sets(SIEMS, max_size=5)
)
def test_no_siem_can_join_the_groups_of_another_or_of_a_service(tenants: set[str], siems: set[str]) -> None:
    groups = [
        rule.name
        for principal in principals(Installation(siems=tuple(siems), tenants=tuple(tenants)))
        for rule in principal.rules
        if rule.resource == "group"
    ]

    assert len(groups) == 3 + len(tenants) + len(siems)
    assert not [(one, other) for one, other in permutations(groups, 2) if other.startswith(one) and one.endswith("/")]


def test_no_siem_of_a_tenant_reads_another_topic_whatever_the_tenants_are_called() -> None:
    tenants = ("contoso", "contoso.eu", "contoso-", "c", ".", "..")
    topics = {
        principal.name: [rule.name for rule in principal.rules if rule.resource == "topic"]
        for principal in principals(Installation(tenants=tenants))
    }

    assert all(topics[f"tenant-siem.{name}"] == [f"plumbline.compliance-findings.{name}"] for name in tenants)


@pytest.mark.parametrize(
    ("installation", "told"),
    [
        (Installation(siems=("a/b",)), "'a/b' is no name of a SIEM"),
        (Installation(siems=("",)), "'' is no name of a SIEM"),
        (Installation(tenants=("a b",)), "'a b' is no tenant id"),
        (Installation(tenants=("a.b", "a_b")), "the tenants a.b and a_b cannot both have a topic"),
        (Installation(tenants=("dlq",)), "that of a dead-letter topic"),
        (Installation(principals={"collectr": "User:x"}), "no principal collectr; there are collector, evaluator"),
        (Installation(principals={"collector": "x"}), "expected User:NAME"),
        (Installation(principals={"collector": "User:*"}), "not everybody"),
        (
            Installation(principals={"collector": "User:x", "evaluator": "User:x"}),
            "User:x would be collector and evaluator",
        ),
    ],
)
def test_names_that_would_mix_rights_are_refused(installation: Installation, told: str) -> None:
    with pytest.raises(AclError) as refused:
        principals(installation)

    assert told in str(refused.value)


def test_prefix_and_names_of_the_brokers_own_are_taken() -> None:
    named = principals(Installation(prefix="eu.", principals={"collector": "User:CN=collector,O=Contoso"}))

    assert named[0].principal == "User:CN=collector,O=Contoso"
    assert named[1].principal == "User:eu.evaluator"
    assert all(rule.name.startswith("eu.") for principal in named for rule in principal.rules)


# --- forms


def _of_commands(text: str) -> Iterator[tuple[str, Rule]]:
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        options = list(pairwise(words))
        assert words[0] == "kafka-acls.sh"
        (who,) = [value for name, value in options if name == "--allow-principal"]
        ((resource, name),) = [(key[2:], value) for key, value in options if key in ("--topic", "--group")]
        operations = tuple(value for key, value in options if key == "--operation")
        (pattern,) = [value for key, value in options if key == "--resource-pattern-type"]
        yield who, Rule(resource, name, operations, pattern)  # type: ignore[arg-type]


def _of_document(text: str, principal: Principal) -> list[Rule]:
    (found,) = [each for each in yaml.safe_load(text)["principals"] if each["principal"] == principal.principal]
    return [
        Rule(acl["resource"]["type"], acl["resource"]["name"], tuple(acl["operations"]), acl["resource"]["patternType"])
        for acl in found["acls"]
    ]


def test_the_forms_say_the_same() -> None:
    named = principals(Installation(siems=("the $SIEM's",), tenants=("contoso",)))
    rules = [(principal.principal, rule) for principal in named for rule in principal.rules]

    assert list(_of_commands(render(named, "commands"))) == rules
    assert json.loads(render(named, "json")) == yaml.safe_load(render(named, "yaml"))
    for principal in named:
        assert _of_document(render(named, "yaml"), principal) == list(principal.rules)
