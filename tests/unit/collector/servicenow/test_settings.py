"""Settings become typed rows: release, properties, plugins, apps, password policies, audits."""

from datetime import timedelta

import pytest
from plumbline_collector.connectors.servicenow import settings, values
from plumbline_collector.connectors.servicenow.columns import Columns, DictionaryReader
from plumbline_contracts.datasets import datasets
from plumbline_contracts.events import Product

from tests.unit.collector.servicenow.fakes import NOW, property_row

SCHEMAS = datasets(Product.SERVICENOW)


@pytest.mark.parametrize(
    ("build", "family", "rank", "patch", "age"),
    [
        ("glide-zurich-07-01-2025__patch0-10-25-2026", "zurich", 26, 0, 30),
        ("glide-australia-02-11-2026__patch3-hotfix2a-11-23-2026", "australia", 27, 3, 1),
        ("glide-washingtondc-12-20-2023__patch10", "washingtondc", 23, 10, None),
        ("glide-elsewhere-01-01-2030", "elsewhere", None, None, None),
        ("glide-zurich-07-01-2025__patch1-13-45-2026", "zurich", 26, 1, None),
    ],
)
def test_the_release_is_read_from_the_build(
    build: str, family: str, rank: int | None, patch: int | None, age: int | None
) -> None:
    row = settings.instance({"glide.war": build}, NOW)
    found = (row.get("family"), row.get("family_rank"), row.get("patch"), row.get("patch_age_days"))
    assert found == (family, rank, patch, age)
    assert row["is_known_family"] is (rank is not None)
    assert SCHEMAS["instance"].violations(row) == []


def test_the_patch_comes_from_whichever_property_says_it() -> None:
    row = settings.instance(
        {"glide.war": "glide-zurich-07-01-2025__patch2-10-25-2026", "glide.buildtag.last": "glide-zurich-07-01-2025"},
        NOW,
    )
    assert (row["patch"], row["patched_at"]) == (2, "2026-10-25T00:00:00Z")
    assert settings.instance({"glide.war": "unknown"}, NOW) == {"build": "unknown"}


def test_a_withheld_value_is_absent_and_an_empty_one_stays() -> None:
    rows = settings.system_properties([property_row(1, "a", ""), {"sys_id": "2", "name": "b"}])
    assert rows[0]["value"] == ""
    assert "value" not in rows[1]


def test_several_rows_of_one_name_say_so_and_whether_they_differ() -> None:
    rows = settings.system_properties(
        [
            property_row(1, "a", "true"),
            property_row(2, "a", "false"),
            property_row(3, "b", "1"),
            property_row(4, "b", "1"),
        ]
    )
    assert [(row["row_count"], row["has_conflicting_values"]) for row in rows] == [(2, True)] * 2 + [(2, False)] * 2
    assert rows[0]["updated_at"] == "2026-03-12T08:11:02Z"
    assert SCHEMAS["system_properties"].violations(rows[0]) == []


@pytest.mark.parametrize(
    ("active", "expected"), [("active", True), ("true", True), ("inactive", False), (" Active ", True)]
)
def test_a_plugin_is_active_in_either_spelling(active: str, expected: bool) -> None:
    row = settings.plugin({"source": "com.glide.high_security", "name": "x", "active": active, "version": "1"})
    assert (row["id"], row["is_active"]) == ("com.glide.high_security", expected)
    assert "has_update" not in row
    assert settings.plugin({"id": "a", "version": "1.0", "available_version": "1.1"})["has_update"] is True
    assert settings.plugin({"id": "a", "version": "1.0", "available_version": ""})["has_update"] is False


def test_every_wanted_table_says_whether_it_is_audited() -> None:
    rows = settings.audited_tables(("sys_user", "ip_access", "sys_public"), {"sys_user": True, "sys_public": None})
    assert rows == [
        {"name": "sys_user", "is_audited": True},
        {"name": "ip_access", "is_audited": False},
        {"name": "sys_public"},
    ]


def _columns() -> Columns:
    reader = DictionaryReader()
    for table, element, label in (
        ("password_policy", "min_len", "Minimum Password Length"),
        ("password_policy", "max_len", "Maximum password length"),
        ("pwd_cred_store", "enforce", "Enable password policy"),
        ("password_policy", "", "Password policy"),
        ("incident", "number", "Number"),
    ):
        reader.add({"name": table, "element": element, "column_label": label})
    return reader.columns()


def test_columns_behind_labels_are_found_in_the_dictionary() -> None:
    columns = _columns()
    assert columns.of("password_policy") == "min_len,max_len"
    assert settings.password_length({"min_len": "15", "max_len": ""}, columns) == (15, 100)
    assert settings.password_length({"min_len": "15"}, Columns()) == (None, None)


def test_a_credential_store_carries_its_policy() -> None:
    row = {"sys_id": "1", "name": "Local", "password_policy": "p", "enforce": "true"}
    found = settings.credential_store(row, {"p": ("Strong", 15, 64)}, _columns())
    assert (found["policy"], found["minimum_length"], found["maximum_length"]) == ("Strong", 15, 64)
    assert found["is_policy_enabled"] is True
    assert SCHEMAS["password_stores"].violations(found) == []
    without = settings.credential_store({**row, "password_policy": ""}, {}, _columns())
    assert (without["has_policy"], without["minimum_length"]) == (False, 8)
    assert "minimum_length" not in settings.credential_store(row, None, Columns())


def test_a_store_app_without_a_known_column_says_nothing_of_updates() -> None:
    row = {"sys_id": "1", "scope": "sn_si", "version": "1.0"}
    assert "has_update" not in settings.store_app(row, Columns())
    known = Columns({("sys_store_app", "latest_version"): "latest_version"})
    assert settings.store_app({**row, "latest_version": "1.1"}, known)["has_update"] is True


@pytest.mark.parametrize("cell", ["", "tomorrow", "2026-13-01 00:00:00", "2026-11-24"])
def test_a_date_that_is_none_is_not_there(cell: str) -> None:
    row = {"expires": cell}
    assert values.days_until(row, "expires", NOW) is None
    assert values.days_since(row, "expires", NOW) is None
    assert values.timestamp(row, "expires") is None


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("true", True),
        (" TRUE ", True),
        ("1", True),
        ("false", False),
        ("0", False),
        ("", None),
        ("wahr", None),
        ("yes", None),
    ],
)
def test_a_flag_is_read_in_any_spelling(cell: str, expected: bool | None) -> None:
    assert values.flag({"a": cell}, "a") is expected


@pytest.mark.parametrize(("ahead", "expected"), [(timedelta(hours=2), 0), (timedelta(days=2), None)])
def test_a_past_moment_that_lies_in_the_future_is_no_moment(ahead: timedelta, expected: int | None) -> None:
    row = {"last_seen": (NOW + ahead).strftime("%Y-%m-%d %H:%M:%S")}
    assert values.days_since(row, "last_seen", NOW) == expected


@pytest.mark.parametrize(("cell", "expected"), [("-3", -3), ("9" * 30, None), ("9" * 5000, None), ("1.5", None)])
def test_a_number_that_nobody_can_mean_is_none(cell: str, expected: int | None) -> None:
    assert values.number({"n": cell}, "n") == expected


def test_a_build_with_an_endless_patch_is_not_taken_apart() -> None:
    row = settings.instance({"glide.war": "glide-zurich-07-01-2025__patch" + "9" * 5000}, NOW)
    assert (row["family"], "patch" in row) == ("zurich", False)
