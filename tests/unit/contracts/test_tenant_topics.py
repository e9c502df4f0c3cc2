"""Topics of one tenant: which tenants have them, and which names would not do."""

import pytest
from plumbline_contracts.cli import app
from plumbline_contracts.tenant_topics import TenantTopicSettings, tenant_topics
from plumbline_contracts.topics import physical_name, registry
from plumbline_score_api.settings import Settings as ScoreApiSettings
from pydantic import ValidationError
from typer.testing import CliRunner

VARIABLE = "PLUMBLINE_SCORE_API_FINDINGS_TENANT_TOPICS"


@pytest.mark.parametrize(
    ("value", "tenants"),
    [
        ("", ()),
        ("contoso", ("contoso",)),
        ("contoso, contoso.eu, ", ("contoso", "contoso.eu")),
        ('["contoso", "fabrikam"]', ("contoso", "fabrikam")),
    ],
)
def test_the_list_is_read_alike_by_the_projector_and_the_provisioning(
    monkeypatch: pytest.MonkeyPatch, value: str, tenants: tuple[str, ...]
) -> None:
    monkeypatch.setenv(VARIABLE, value)

    assert TenantTopicSettings().findings_tenant_topics == tenants
    assert ScoreApiSettings().findings_tenant_topics == tenants


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("a b", "'a b' is no tenant id"),
        ('["contoso", ""]', "'' is no tenant id"),
        ("contoso/eu", "is no tenant id"),
        ("x" * 65, "is no tenant id"),
        ("dlq", "its name would be that of a dead-letter topic"),
        ("contoso.dlq", "its name would be that of a dead-letter topic"),
        ("a.b,a_b", "the tenants a.b and a_b cannot both have a topic"),
        ("[contoso]", "expected tenant ids separated by commas, or a JSON list"),
        ("[1]", "valid string"),
    ],
)
def test_a_name_that_would_not_do_is_refused(monkeypatch: pytest.MonkeyPatch, value: str, told: str) -> None:
    monkeypatch.setenv(VARIABLE, value)

    for settings in (TenantTopicSettings, ScoreApiSettings):
        with pytest.raises(ValidationError) as refused:
            settings()
        assert told in str(refused.value)
    said = CliRunner().invoke(app, ["acls"])
    assert said.exit_code == 2
    assert VARIABLE in said.stderr
    assert told in said.stderr


def test_a_tenants_topic_is_kept_as_the_shared_one() -> None:
    shared, (own,) = registry()["compliance-findings"], tenant_topics(["contoso", "contoso"])

    assert own.name == "compliance-findings.contoso"
    assert own.broker_config() == shared.broker_config()
    assert (own.producers, own.partitions) == (shared.producers, shared.partitions)
    assert registry()[own.name] == own
    assert physical_name(own.name, "eu.") == "eu.compliance-findings.contoso"


@pytest.mark.parametrize("name", ["compliance-findings.a.dlq", "compliance-findings.a b"])
def test_the_registry_knows_no_topic_of_a_tenant_that_can_have_none(name: str) -> None:
    with pytest.raises(ValueError, match="tenant"):
        registry()[name]


def test_the_command_takes_tenants_in_place_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "contoso")

    said = CliRunner().invoke(app, ["acls", "--tenant", "fabrikam", "--siem", "splunk", "--format", "yaml"])

    assert said.exit_code == 0
    assert "User:plumbline.tenant-siem.fabrikam" in said.stdout
    assert "User:plumbline.siem.splunk" in said.stdout
    assert "contoso" not in said.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--principal", "collector"], "expected NAME=User:…"),
        (["--principal", "nobody=User:x"], "no principal nobody"),
        (["--prefix", "a b"], "PLUMBLINE_TOPIC_PREFIX: String should match"),
    ],
)
def test_a_wrong_word_of_the_command_is_told(words: list[str], told: str) -> None:
    said = CliRunner().invoke(app, ["acls", *words])

    assert (said.exit_code, told in said.stderr) == (2, True), said.stderr
