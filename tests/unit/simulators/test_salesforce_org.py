"""The simulated org: changes move what they should, Health Check judges, size costs no memory."""

import tracemalloc
from typing import Any

import pytest
from plumbline_simulators.cli import app as cli
from plumbline_simulators.control_plane import UnknownSettingError
from plumbline_simulators.faults import EFFECTS, KINDS, Fault, is_following, is_last
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.salesforce.people import SECRET
from plumbline_simulators.salesforce.queries import ask
from plumbline_simulators.salesforce.shape import Seed
from typer.testing import CliRunner

RISKS = "SELECT DurableId, RiskType FROM SecurityHealthCheckRisks"


def _rows(org: Org, soql: str, *, tooling: bool = False) -> list[dict[str, Any]]:
    selection = ask(org, soql, tooling=tooling).selection
    assert selection is not None
    return list(selection)


@pytest.mark.parametrize(
    ("name", "value", "soql", "tooling", "column", "expected"),
    [
        ("connectedApps.Slack.optionsAllowAdminApprovedUsersOnly", "false",
         "SELECT Id FROM ConnectedApplication WHERE Name = 'Slack'", False, "OptionsAllowAdminApprovedUsersOnly",
         False),
        ("certificates.Gateway.keySize", "4096", "SELECT Id FROM Certificate WHERE DeveloperName = 'Gateway'", True,
         "KeySize", 4096),
        ("sites.Help.clickjackProtectionLevel", "NoFraming", "SELECT Id FROM Site WHERE Name = 'Help'", False,
         "ClickjackProtectionLevel", "NoFraming"),
        ("permissionSets.Report_Exporter.permissionsModifyAllData", "true",
         "SELECT Id FROM PermissionSet WHERE Name = 'Report_Exporter'", False, "PermissionsModifyAllData", True),
        ("profiles.Sales User.permissionsApiEnabled", "false",
         "SELECT Id FROM PermissionSet WHERE Profile.Name = 'Sales User'", False, "PermissionsApiEnabled", False),
        ("networks.Help.optionsSelfRegistrationEnabled", "false", "SELECT Id FROM Network WHERE Name = 'Help'", False,
         "OptionsSelfRegistrationEnabled", False),
        ("sharingModels.Account.externalSharingModel", "Private",
         "SELECT Label FROM EntityDefinition WHERE QualifiedApiName = 'Account'", True, "ExternalSharingModel",
         "Private"),
        ("emailDomainKey.example.com.isActive", "true", "SELECT Id FROM EmailDomainKey", False, "IsActive", True),
    ],
)  # fmt: skip
def test_a_changed_record_is_read_so(
    name: str, value: str, soql: str, tooling: bool, column: str, expected: object
) -> None:
    org = Org()
    org.change(name, value)
    (row,) = _rows(org, soql, tooling=tooling)
    assert row[column] == expected
    assert org.settings()[name] == expected


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("requireHttpOnly", "true", "Changed requireHttpOnly from off to on"),
        ("sessionTimeout", "TwoHours", "Changed sessionTimeout from EightHours to TwoHours"),
        ("OauthOidcSettings.isPkceRequired", True, "Changed isPkceRequired from off to on"),
        ("certificates.Gateway.keySize", 4096, "Changed certificates.Gateway.keySize from 2048 to 4096"),
        ("users.user000003@example.com.IsActive", "false",
         "Changed users.user000003@example.com.IsActive from nothing to off"),
    ],
)  # fmt: skip
def test_a_change_is_told_in_the_audit_trail(name: str, value: object, said: str) -> None:
    org = Org()
    org.change(name, value)
    (entry, *_) = _rows(org, "SELECT Display FROM SetupAuditTrail ORDER BY CreatedDate DESC LIMIT 1")
    assert entry["Display"] == said
    assert entry["CreatedBy"]["Username"] == "user000001@example.com"


def test_every_field_of_every_blob_can_be_changed() -> None:
    org = Org()
    for name, value in Org().settings().items():
        if name.partition(".")[0] in org.held:
            continue
        wanted = not value if isinstance(value, bool) else value
        org.change(name, wanted)
        assert org.settings()[name] == wanted


def test_ids_and_secrets_are_no_settings() -> None:
    settings = Org().settings()
    assert not [name for name in settings if name.endswith((".id", "Id"))]
    assert SECRET not in settings.values()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("certificates.Gateway.expirationDate", "soon"),
        ("certificates.Gateway.expirationDate", "2027-01-31T00:00:00"),
        ("certificates.Gateway.keySize", "large"),
        ("networkAccess.ipRanges", "everything"),
        ("connectedApps.Slack.optionsIsInternal", "perhaps"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(name: str, value: str) -> None:
    org = Org()
    before = org.settings()
    with pytest.raises(ValueError, match=name.rpartition(".")[2]):
        org.change(name, value)
    assert org.settings() == before


@pytest.mark.parametrize("name", ["connectedApps.Slack.id", "connectedApps.Nobody.name", "sites.Help", "certificates"])
def test_what_no_administrator_can_change_is_unknown(name: str) -> None:
    with pytest.raises(UnknownSettingError):
        Org().change(name, "x")


@pytest.mark.parametrize(("seed", "critical", "score"), [("weak", True, range(60)), ("strong", False, range(90, 101))])
def test_health_check_judges_all_of_the_baseline(seed: Seed, critical: bool, score: range) -> None:
    org = Org(seed=seed)
    risks = _rows(org, RISKS, tooling=True)
    assert len({risk["DurableId"] for risk in risks}) == len(risks) == 45
    assert any(risk["RiskType"] == "HIGH_RISK" for risk in risks) is critical
    (check,) = _rows(org, "SELECT Score FROM SecurityHealthCheck", tooling=True)
    assert int(check["Score"]) in score


@pytest.mark.parametrize(
    ("name", "value", "key", "before", "after"),
    [
        ("minimumPasswordLength", "6", "PasswordPolicies.minPasswordLength", "MEETS_STANDARD", "MEDIUM_RISK"),
        ("minimumPasswordLength", "5", "PasswordPolicies.minPasswordLength", "MEETS_STANDARD", "HIGH_RISK"),
        ("historyRestriction", "0", "PasswordPolicies.history", "MEETS_STANDARD", "HIGH_RISK"),
        ("enableAdminLoginAsAnyUser", "false", "LoginAccessPolicies.adminLoginAsAnyUser", "HIGH_RISK",
         "MEETS_STANDARD"),
        ("lockSessionsToIp", "true", "SessionSettings.lockSessionsToIp", "MEDIUM_RISK", "MEETS_STANDARD"),
        ("maxLoginAttempts", "NoLimit", "PasswordPolicies.maxLoginAttempts", "MEDIUM_RISK", "HIGH_RISK"),
        ("networkAccess.ipRanges", [], "NetworkSecurity.trustedIpRangesConfigured", "MEETS_STANDARD", "HIGH_RISK"),
        ("remoteSites.OldErp.protocolMismatch", "false", "RemoteSiteSettings.remoteSiteSettings", "MEDIUM_RISK",
         "MEETS_STANDARD"),
        ("certificates.Old_Partner.expirationDate", "2099-01-01T00:00:00Z", "CertificateAndKeyManagement.expiredCert",
         "MEDIUM_RISK", "MEETS_STANDARD"),
    ],
)  # fmt: skip
def test_health_check_follows_a_change(name: str, value: object, key: str, before: str, after: str) -> None:
    org = Org()
    query = f"{RISKS} WHERE DurableId = '{key}'"
    assert [row["RiskType"] for row in _rows(org, query, tooling=True)] == [before]
    org.change(name, value)
    assert [row["RiskType"] for row in _rows(org, query, tooling=True)] == [after]


def test_as_many_assignments_as_wanted_cost_no_memory() -> None:
    org = Org(users=10_000, assignments_per_user=3)
    tracemalloc.start()
    selection = ask(org, "SELECT Id FROM PermissionSetAssignment", tooling=False).selection
    assert selection is not None
    seen = 0
    while rows := selection.page(seen, 2000):
        seen += len(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == selection.total > 30_000
    assert peak < 10 * 1024 * 1024


def test_the_options_set_the_size() -> None:
    org = Org(users=10, assignments_per_user=5, connected_apps=300, oauth_tokens=7, logins_per_user=2)
    counts = {
        name: len(list(org.tables()[name].rows())) for name in ("ConnectedApplication", "OauthToken", "LoginHistory")
    }
    assert counts == {"ConnectedApplication": 300, "OauthToken": 7, "LoginHistory": 20}
    assert len(_rows(org, "SELECT Id FROM PermissionSetAssignment WHERE AssigneeId = '005000000000009AAA'")) == 5


@pytest.mark.parametrize(
    ("target", "follows"),
    [
        ("/services/data/v66.0/query?q=x", False),
        ("/services/data/v66.0/query/?q=x", False),
        ("/services/data/v66.0/query/01g-2000?", True),
        ("/services/data/v66.0/tooling/query/01g-2000?", True),
        ("/api/now/table/sys_user?sysparm_limit=10", False),
        ("/api/now/table/sys_user?sysparm_limit=10&sysparm_offset=0", False),
        ("/api/now/table/sys_user?sysparm_limit=10&sysparm_offset=10", True),
        ("/api/now/table/sys_user?sysparm_query=sys_id%3Eabc%5EORDERBYsys_id", True),
    ],
)
def test_a_page_after_the_first_is_told_from_its_request(target: str, follows: bool) -> None:
    assert is_following(target) is follows


@pytest.mark.parametrize(
    ("query", "body", "last"),
    [
        ("", b'{"done": false, "records": []}', False),
        ("", b'{"done": true, "records": []}', True),
        ("sysparm_limit=2", b'{"result": [{}, {}]}', False),
        ("sysparm_limit=2", b'{"result": [{}]}', True),
        ("sysparm_limit=2", b'{"result": {"stats": {}}}', True),
        ("", b"[]", True),
        ("", b"no json", True),
    ],
)
def test_the_last_page_is_told_from_its_answer(query: str, body: bytes, last: bool) -> None:
    assert is_last(f"/api/now/table/sys_user?{query}", body) is last


@pytest.mark.parametrize(
    ("kind", "target", "is_token", "takes"),
    [
        ("expired_token", "/services/oauth2/token?", True, False),
        ("token_error", "/services/oauth2/token?", True, True),
        ("token_error", "/services/data/v66.0/limits?", False, False),
        ("420", "/services/data/v66.0/limits?", False, True),
        ("420", "/api/now/table/sys_user?", False, False),
        ("truncated_result", "/services/data/v66.0/limits?", False, False),
        ("truncated_result", "/api/now/table/sys_user?", False, True),
        ("expired_locator", "/services/data/v66.0/query?q=x", False, False),
    ],
)
def test_a_fault_takes_what_it_makes_sense_for(kind: str, target: str, is_token: bool, takes: bool) -> None:
    assert Fault(kind).may_take(target, is_token_request=is_token) is takes


def test_the_command_prints_what_each_fault_does() -> None:
    printed = CliRunner().invoke(cli, ["faults"]).stdout.splitlines()
    assert [line.split()[0] for line in printed] == list(KINDS)
    assert all(line.endswith(EFFECTS[line.split()[0]]) for line in printed)
