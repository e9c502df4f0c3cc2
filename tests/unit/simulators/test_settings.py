"""Changing a simulated org's settings: what fits is taken and audited, what does not is refused by name."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from plumbline_simulators.control_plane import Changes, UnknownSettingError
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.servicenow.instance import Instance


@pytest.mark.parametrize(
    ("name", "value", "full", "kept"),
    [
        ("requireHttpOnly", "true", "sessionSettings.requireHttpOnly", True),
        ("passwordPolicies.minimumPasswordLength", "14", "passwordPolicies.minimumPasswordLength", "14"),
        ("minimumPasswordLength", 14, "passwordPolicies.minimumPasswordLength", "14"),
        ("remoteSites.OldErp.protocolMismatch", "false", "remoteSites.OldErp.protocolMismatch", False),
    ],
)
def test_a_salesforce_setting_changes_in_its_type_and_is_audited(name: str, value: Any, full: str, kept: Any) -> None:
    org = Org()
    before = len(org.audit_trail)
    org.change(name, value)
    assert org.settings()[full] == kept
    assert type(org.settings()[full]) is type(kept)
    assert len(org.audit_trail) == before + 1


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("glide.ui.session_timeout", "15", "15"),
        ("glide.soap.strict_security", True, "true"),
        ("glide.soap.strict_security", None, None),
        ("plugin:com.glide.role_management", "active", "active"),
        ("script_action:SNC User Lockout Check", "true", True),
    ],
)
def test_a_servicenow_setting_changes_and_its_time_with_it(name: str, value: Any, kept: Any) -> None:
    instance = Instance()
    instance.change(name, value)
    assert instance.settings()[name] == kept


@pytest.mark.parametrize(
    ("org", "name"),
    [
        (Org(), "requireHttpOnli"),
        (Org(), "remoteSites.Nowhere.protocolMismatch"),
        (Org(), "users.nobody@example.com.IsActive"),
        (Org(users=5), "users.user000005@example.com.IsActive"),
        (Org(), "users.user000001@example.com.Email"),
        (Instance(), "glide.soap.strict_securty"),
        (Instance(), "plugin:com.glide.unheard_of"),
        (Instance(), "script_action:Unheard of"),
        (Instance(), "users.nobody.active"),
        (Instance(), "users.admin.sys_id"),
    ],
)
def test_an_unknown_setting_changes_nothing(org: Org | Instance, name: str) -> None:
    before = org.settings()
    with pytest.raises(UnknownSettingError):
        org.change(name, "true")
    assert org.settings() == before


@pytest.mark.parametrize(
    ("org", "name", "value", "said"),
    [
        (Org(), "requireHttpOnly", "yes", "true or false"),
        (Org(), "minimumPasswordLength", "4", "5, 6"),
        (Org(), "sessionTimeout", "Forever", "TwoHours"),
        (Org(), "users.user000001@example.com.IsFrozen", "maybe", "true or false"),
        (Instance(), "glide.soap.strict_security", "on", "true or false"),
        (Instance(), "plugin:com.glide.role_management", "gone", "active"),
        (Instance(), "script_action:SNC User Lockout Check", "1", "true or false"),
        (Instance(), "users.admin.active", "1", "true or false"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_does(
    org: Org | Instance, name: str, value: str, said: str
) -> None:
    before = org.settings()
    with pytest.raises(ValueError, match=said):
        org.change(name, value)
    assert org.settings() == before


def test_a_changed_user_is_read_so_in_its_type() -> None:
    org, instance = Org(), Instance()
    org.change("users.user000003@example.com.IsActive", "false")
    instance.change("users.user000009.active", "false")
    changed = org.user(3)
    assert changed is not None
    assert changed["IsActive"] is False
    assert instance.user(9)["active"] == "false"


def test_changes_outlive_a_restart_and_a_damaged_file_does_not_stop_one(tmp_path: Path) -> None:
    file = tmp_path / "salesforce.json"
    kept = Changes(file)
    kept.keep("requireHttpOnly", "true")
    kept.keep("settingOfAnOlderVersion", "true")
    again = Org()
    Changes(file).replay(again)
    assert again.settings()["sessionSettings.requireHttpOnly"] is True

    file.write_text('{"requireHttpOnly": "tr')
    now = datetime.now(UTC)
    seeded = Org(now=now)
    Changes(file).replay(seeded)
    assert seeded.settings() == Org(now=now).settings()
    assert (tmp_path / "salesforce.damaged").is_file()
