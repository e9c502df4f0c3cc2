"""The issuers file: every mistake with file and line; and what claims mean under it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from plumbline_score_api.cli import app
from plumbline_score_api.keys.schemas import Role
from plumbline_score_api.tokens.claims import LONGEST_NAME, caller_of
from plumbline_score_api.tokens.issuers import IssuersError, Preset, TokenType, load
from plumbline_score_api.tokens.verification import Reason, RefusedError
from typer.testing import CliRunner

from tests.unit.score_api.signers import claims, issuer

GUID = "8f9e8b1c-6d5a-4c3b-9a2f-1e0d7c6b5a49"
GOOD = f"""\
issuers:
  - issuer: https://login.microsoftonline.com/{GUID}/v2.0
    preset: entra-id
    audience: 0c1d2e3f-0000-4000-8000-000000000001
    tenants:
      claim: tid
      map:
        {GUID}: contoso
    roles:
      map:
        Posture.Reader: SecureScore.Read
        Posture.Admin: [SecureScore.ReadWrite, Instances.Manage, Keys.Manage]
  - issuer: https://id.contoso.example/realms/main
    preset: keycloak
    audience: [plumbline, plumbline-api]
    tenant: contoso
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "issuers.yaml"
    path.write_text(GOOD)
    return path


def test_a_good_file_is_read_with_its_presets(file: Path) -> None:
    entra, keycloak = load(file)
    assert entra.discovery_url == f"https://login.microsoftonline.com/{GUID}/v2.0/.well-known/openid-configuration"
    assert entra.algorithms == {"RS256"}
    assert entra.roles.claims == (("roles",),), "the preset's claims, the file's map"
    assert entra.roles.map is not None
    assert entra.roles.map["Posture.Reader"] == {Role.READ}
    assert keycloak.audience == ("plumbline", "plumbline-api")
    assert keycloak.roles.claims == (("realm_access", "roles"),)
    assert keycloak.types == {TokenType.JWT, TokenType.ACCESS_TOKEN}


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("issuer: https://id", "issuer: http://id", 13, "allow_http: true"),
        ("issuer: https://id.contoso.example/realms/main", "issuer: id.contoso.example", 13, "expected https://HOST"),
        ("https://id.contoso", "https://ann:pw@id.contoso", 13, "expected https://HOST"),
        ("realms/main", "realms/main?x=1", 13, "expected https://HOST"),
        ("preset: keycloak", "preset: ping", 14, "'entra-id', 'keycloak' or 'okta'"),
        ("[plumbline, plumbline-api]", "[]", 15, "at least 1 item"),
        ("[plumbline, plumbline-api]", "''", 15, "at least 1 character"),
        ("    tenant: contoso\n", "", 13, "give either tenant"),
        ("    tenant: contoso\n", "    tenant: con/toso\n", 16, "match pattern"),
        ("      claim: tid", "      colour: red\n      claim: tid", 6, "Extra inputs"),
        (f"{GUID}: contoso", f"{GUID}: con toso", 8, "match pattern"),
        (f"        {GUID}: contoso", "        7: contoso", 7, "valid string"),
        ("Posture.Reader: SecureScore.Read", "Posture.Reader: Admin", 11, "'SecureScore.Read'"),
        ("[plumbline, plumbline-api]", "x\n    algorithms: [HS256]", 16, "'RS256'"),
        ("[plumbline, plumbline-api]", "x\n    algorithms: [none]", 16, "'RS256'"),
        ("[plumbline, plumbline-api]", "x\n    client_secret: hunter2", 16, "Extra inputs"),
        ("https://id.contoso.example/realms/main", f"https://login.microsoftonline.com/{GUID}/v2.0", 13, "twice"),
        ("issuers:", "trusted:", 1, "expected one key"),
        ("issuers:", "issuers:\n  - 7", 2, "valid dictionary"),
        ("preset: keycloak", "preset: keycloak\n    preset: okta", 15, "stands here twice"),
    ],
)
def test_a_mistake_names_file_line_and_remedy(file: Path, old: str, new: str, line: int, message: str) -> None:
    assert GOOD.count(old) >= 1
    file.write_text(new.join(GOOD.rsplit(old, 1)))
    with pytest.raises(IssuersError) as refused:
        load(file)
    problem = refused.value.problems[0]
    assert problem.startswith(f"{file}:{line}: ")
    assert message in problem
    assert "hunter2" not in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(IssuersError, match="cannot be read"):
        load(tmp_path / "none.yaml")


def test_every_preset_is_complete() -> None:
    for preset in Preset:
        assert issuer(preset=preset.value).roles.claims


def test_the_command_tells_mistakes_or_what_a_file_opens(file: Path) -> None:
    good = CliRunner().invoke(app, ["issuers", "lint", str(file)])
    assert good.exit_code == 0
    assert "https://id.contoso.example/realms/main: tenant contoso" in good.output
    assert "one of 1 tenants, by a claim" in good.output
    file.write_text(GOOD.replace("preset: keycloak", "preset: ping"))
    bad = CliRunner().invoke(app, ["issuers", "lint", str(file)])
    assert bad.exit_code == 1
    assert f"{file}:14: " in bad.output


# --- what claims mean


def _roles(rule: dict[str, Any], **changes: Any) -> set[str]:
    return set(caller_of(issuer(roles=rule), claims(**changes)).roles)


@pytest.mark.parametrize(
    ("rule", "changes", "expected"),
    [
        ({}, {"roles": ["SecureScore.Read", "Keys.Manage"]}, {"SecureScore.Read", "Keys.Manage"}),
        ({}, {"roles": ["securescore.read", "Admin", 7, None, ["Keys.Manage"]]}, set()),
        ({}, {"roles": None}, set()),
        ({}, {"roles": {"Keys.Manage": True}}, set()),
        ({"claims": "scp"}, {"scp": "openid SecureScore.Read Keys.Manage"}, {"SecureScore.Read", "Keys.Manage"}),
        ({"claims": ["groups", "scp"]}, {"groups": ["Keys.Manage"], "scp": ["SecureScore.Read"]},
         {"SecureScore.Read", "Keys.Manage"}),
        ({"claims": "realm_access.roles"}, {"realm_access": {"roles": ["SecureScore.Read"]}}, {"SecureScore.Read"}),
        ({"claims": "realm_access.roles"}, {"realm_access.roles": ["Keys.Manage"]}, set()),
        ({"claims": "realm_access.roles"}, {"realm_access": ["Keys.Manage"]}, set()),
        ({"claims": [["resource_access", "plumb.line", "roles"]]},
         {"resource_access": {"plumb.line": {"roles": ["Keys.Manage"]}}}, {"Keys.Manage"}),
        ({"claims": [["https://contoso.example/roles"]]}, {"https://contoso.example/roles": "Keys.Manage"},
         {"Keys.Manage"}),
        ({"map": {"Posture Admins": ["Keys.Manage", "SecureScore.ReadWrite"]}}, {"roles": ["Posture Admins"]},
         {"Keys.Manage", "SecureScore.ReadWrite"}),
        ({"map": {"Posture Admins": ["Keys.Manage"]}}, {"roles": "Posture Admins"}, {"Keys.Manage"}),
        ({"map": {"x": "SecureScore.Read"}}, {"roles": ["Keys.Manage"]}, set()),
        ({"map": {}}, {"roles": ["Keys.Manage"]}, set()),
    ],
)  # fmt: skip
def test_roles_come_from_the_configured_claims_alone(
    rule: dict[str, Any], changes: dict[str, Any], expected: set[str]
) -> None:
    assert _roles(rule, **changes) == expected


@pytest.mark.parametrize(
    ("value", "tenant"),
    [
        ("a", "contoso"),
        (["b"], "fabrikam"),
        (["a", "x"], "contoso"),
        (["a", "a2"], "contoso"),
        (["a", "b"], None),
        ("a b", None),
        ("x", None),
        ("contoso", None),
        (None, None),
        (7, None),
        ({"a": 1}, None),
    ],
)
def test_a_tenant_comes_out_of_the_map_or_not_at_all(value: Any, tenant: str | None) -> None:
    rule = {"claim": "tid", "map": {"a": "contoso", "a2": "contoso", "b": "fabrikam"}}
    trusted = issuer(tenant=None, tenants=rule)
    if tenant is None:
        with pytest.raises(RefusedError, match=Reason.TENANT):
            caller_of(trusted, claims(tid=value))
    else:
        assert caller_of(trusted, claims(tid=value)).tenant == tenant


@pytest.mark.parametrize("kind", ["ID", "Refresh", None, ["ID"], 7])
def test_a_token_of_keycloak_has_to_be_a_bearer(kind: Any) -> None:
    trusted = issuer(preset="keycloak")
    assert caller_of(trusted, claims(typ="Bearer")).tenant == "contoso"
    with pytest.raises(RefusedError):
        caller_of(trusted, claims(typ=kind))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "ann@contoso.example"),
        ({"preferred_username": None, "client_id": "siem"}, "siem"),
        ({"preferred_username": None}, "3f2a"),
        ({"preferred_username": ""}, "3f2a"),
        ({"preferred_username": {"x": 1}}, "3f2a"),
        ({"preferred_username": "ann\r\nadmin\x1b[0m"}, "ann??admin?[0m"),
        ({"preferred_username": "a" * 500}, "a" * LONGEST_NAME),
    ],
)
def test_a_name_is_for_people_and_stays_short_and_printable(changes: dict[str, Any], name: str) -> None:
    assert caller_of(issuer(), claims(**changes)).name == name


def test_the_examples_of_the_manual_are_valid(tmp_path: Path) -> None:
    manual = Path(__file__).parents[3] / "docs/how-to/sign-in.md"
    examples = [part.split("```")[0] for part in manual.read_text().split("```yaml\n")[1:]]
    written = [example for example in examples if yaml.safe_load(example).keys() == {"issuers"}]
    assert len(written) >= 3
    for number, example in enumerate(written):
        file = tmp_path / f"{number}.yaml"
        file.write_text(example)
        assert load(file)
