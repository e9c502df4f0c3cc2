"""Entries of a product's audit trail and the controls that they belong to."""

from datetime import timedelta
from typing import Any

import pytest
from plumbline_contracts.events import AuditEntry, DatasetState, Evidence, Product
from plumbline_score_api.recommendations.setting_changes import MOST_SHOWN, Match, belonging, match_of

from tests.unit.score_api.painting import START

PASSWORDS = Evidence(
    dataset="password_policies",
    source="SecuritySettings",
    state=DatasetState.OK,
    observed={"minimum_password_length": 5, "complexity": 1, "enable_csrf_on_get": True},
)
APPS = Evidence(
    dataset="connected_apps",
    source="ConnectedApplication",
    state=DatasetState.OK,
    observed={"is_admin_approved": False},
)
PROPERTY = Evidence(
    dataset="system_properties", source="sys_properties", state=DatasetState.OK, observed={"glide.sm.mode": "allow"}
)
ABSENT = PROPERTY.model_copy(update={"observed": {}})
ROLES = Evidence(dataset="users", source="sys_user_has_role", state=DatasetState.OK, observed={})
SF, SN = Product.SALESFORCE, Product.SERVICENOW


def _entry(hours: float = 1, **more: Any) -> AuditEntry:
    fields: dict[str, Any] = {"at": START + timedelta(hours=hours), "actor": "ann", "action": "changed"}
    return AuditEntry(**fields | more)


@pytest.mark.parametrize(
    ("entry", "evidence", "product", "match"),
    [
        ({"subject": "minimumPasswordLength"}, PASSWORDS, SF, Match.SETTING),
        ({"subject": "minimum password length"}, PASSWORDS, SF, Match.SETTING),
        ({"subject": "enableCSRFOnGet"}, PASSWORDS, SF, Match.SETTING),
        ({"subject": "password length"}, PASSWORDS, SF, Match.INSTANCE),
        ({"subject": "complexity"}, PASSWORDS, SF, Match.INSTANCE),
        ({"section": "Password Policies"}, PASSWORDS, SF, Match.INSTANCE),
        ({"subject": "isAdminApproved"}, APPS, SF, Match.INSTANCE),
        ({"section": "sys_properties", "subject": "glide.sm.mode"}, PROPERTY, SN, Match.SETTING),
        ({"section": "sys_properties", "subject": "glide.sm.mode.x"}, PROPERTY, SN, None),
        ({"section": "sys_user", "subject": "glide.sm.mode"}, PROPERTY, SN, None),
        ({"section": "sys_properties", "subject": "glide.sm.mode"}, ABSENT, SN, Match.AREA),
        ({"section": "sys_user_has_role", "subject": "0123"}, ROLES, SN, Match.AREA),
        ({"section": "sys_user", "subject": "0123"}, ROLES, SN, None),
        ({}, ROLES, SN, None),
    ],
)
def test_nothing_is_guessed(entry: dict[str, Any], evidence: Evidence, product: Product, match: Match | None) -> None:
    assert match_of(_entry(**entry), [evidence], product) is match


def test_the_surest_come_first_and_nothing_from_before_it_passed() -> None:
    entries = [
        _entry(1, subject="minimumPasswordLength", detail="long ago"),
        _entry(3, subject="minimumPasswordLength"),
        _entry(4, detail="something"),
        _entry(5, detail="something else"),
    ]
    found = belonging(entries, [PASSWORDS], SF, START + timedelta(hours=2))
    assert [(each.match, each.at - START) for each in found] == [
        (Match.SETTING, timedelta(hours=3)), (Match.INSTANCE, timedelta(hours=5)), (Match.INSTANCE, timedelta(hours=4)),
    ]  # fmt: skip


def test_without_a_last_good_result_only_the_setting_itself_counts() -> None:
    entries = [_entry(1, subject="minimumPasswordLength"), _entry(2, detail="something")]
    assert [each.match for each in belonging(entries, [PASSWORDS], SF, None)] == [Match.SETTING]


def test_a_change_that_two_trails_tell_is_shown_once_with_its_values() -> None:
    plain = _entry(section="sys_properties", subject="glide.sm.mode")
    rich = plain.model_copy(update={"action": "sys_properties.value", "old_value": "deny", "new_value": "allow"})
    for entries in ([plain, rich], [rich, plain]):
        (found,) = belonging(entries, [PROPERTY], SN, None)
        assert (found.old_value, found.new_value) == ("deny", "allow")


def test_so_many_are_shown_and_no_more() -> None:
    entries = [_entry(number, subject="minimumPasswordLength") for number in range(80)]
    found = belonging(entries, [PASSWORDS], SF, None)
    assert len(found) == MOST_SHOWN
    assert found[0].at == START + timedelta(hours=79)
