"""The Salesforce connector against a whole simulated org: every field, every call, every missing right."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection
from plumbline_collector.connectors import open_connector
from plumbline_collector.connectors.ports import CollectionReport
from plumbline_collector.connectors.salesforce import costs
from plumbline_collector.connectors.salesforce.plan import calls_by_dataset
from plumbline_contracts.datasets import datasets
from plumbline_contracts.events import DatasetState, DatasetSummary, Product
from plumbline_simulators.salesforce.entity import Entity, listed
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.salesforce.people import user_id
from plumbline_simulators.salesforce.shape import CALLER

from tests.integration.collector.sink import Rows
from tests.integration.parts import Simulated, simulated

SCHEMAS = datasets(Product.SALESFORCE)
NOT_WITH_LEAST_RIGHTS = {"session_activity", "public_links"}
"""What shows itself whole only to permissions that nobody should give to a collector."""


async def _collect(org: Simulated, secret: Path) -> tuple[dict[str, DatasetSummary], Rows, CollectionReport]:
    connection, rows = Connection.model_validate(org.connection("org", secret)), Rows()
    async with open_connector(connection, CallBudget(1.0)) as connector:
        report = await connector.collect(rows, datetime.now(UTC))
    return {summary.name: summary for summary in report.datasets}, rows, report


async def test_every_dataset_is_read_and_fits_its_schema(secret: Path) -> None:
    with simulated(Org(users=200)) as org:
        found, rows, report = await _collect(org, secret)
    assert list(found) == list(SCHEMAS)
    assert {name for name, each in found.items() if each.state is not DatasetState.OK} <= NOT_WITH_LEAST_RIGHTS
    for name, schema in SCHEMAS.items():
        for row in rows.found.get(name, []):
            assert schema.violations(row) == [], name
        if schema.entity and name in rows.found:
            identities = [row[schema.entity.id] for row in rows.found[name]]
            assert name == "identity_verifications" or len(set(identities)) == len(identities), name
    assert report.release == "66.0"
    assert report.audit_entries


async def test_every_field_is_carried_by_some_row(secret: Path) -> None:
    carried: dict[str, set[str]] = {}
    for seed in ("weak", "strong"):
        with simulated(Org(users=200, seed=seed)) as org:
            _, rows, _ = await _collect(org, secret)
        for name, found in rows.found.items():
            carried.setdefault(name, set()).update(*(row.keys() for row in found))
    not_simulated = {
        ("browser_settings", "enable_graphql_api_for_guest_users"),
        ("browser_settings", "grant_camera_access"),
        ("browser_settings", "grant_microphone_access"),
        ("session_settings", "allow_user_cert_based_authentication_with_ocsp_validation"),
        ("community_settings", "enable_networks_enabled"),
    }
    absent = {
        (name, field)
        for name, schema in SCHEMAS.items()
        for field in schema.fields.keys() - carried.get(name, set())
        if name != "identity_verifications"
    }
    assert absent <= not_simulated


async def test_the_calls_are_those_that_were_foretold(secret: Path) -> None:
    with simulated(Org(users=5200, oauth_tokens=2300)) as org:
        found, rows, _ = await _collect(org, secret)
        users = rows.found["users"]
        counts = {
            "User": len(users),
            "UserLogin": sum(1 for row in users if row["is_frozen"] or row["is_password_locked"]),
            "TwoFactorMethodsInfo": sum(1 for row in users if row["has_mfa_method"]),
            "PermissionSetAssignment": sum(int(str(row["active_users"])) for row in rows.found["permission_sets"]),
            "OauthToken": len(rows.found["oauth_tokens"]),
            "EntityDefinition": len(rows.found["object_sharing"]),
            "ContentDistribution": len(rows.found["public_links"]),
            costs.PRIVILEGED_USERS: sum(1 for row in users if row["is_privileged"]),
            costs.PRIVILEGED_PROFILES: sum(1 for row in rows.found["profiles"] if "login_ip_range_count" in row),
        }
    made = {name: each.calls for name, each in found.items() if each.calls}
    foretold = {name: calls for name, calls in calls_by_dataset(counts).items() if calls}
    assert made == foretold


async def test_a_hidden_column_costs_the_fields_made_of_it(secret: Path) -> None:
    with simulated(Org(hidden_columns=frozenset({"User.FederationIdentifier"}))) as org:
        found, rows, _ = await _collect(org, secret)
    assert found["users"].state is DatasetState.OK
    (missing,) = found["users"].missing_fields
    assert (missing.field, missing.state) == ("is_sso_bound", DatasetState.DENIED)
    assert "Field-Level Security" in (missing.error.remedy or "")
    assert all("is_sso_bound" not in row for row in rows.found["users"])


async def test_without_view_all_users_nobody_takes_the_rest_for_all(secret: Path) -> None:
    rights = frozenset({"PermissionsApiEnabled", "PermissionsViewSetup"})
    with simulated(Org(rights=rights)) as org:
        found, _, _ = await _collect(org, secret)
    for name in ("users", "guest_users", "guest_access", "login_activity", "oauth_tokens"):
        assert found[name].state is DatasetState.TRUNCATED, name
    assert {each.field for each in found["permission_sets"].missing_fields} == {"active_users"}


async def test_an_org_without_shield_and_sites_says_not_licensed_by_proof(secret: Path) -> None:
    with simulated(Org(has_shield=False, has_experience_cloud=False)) as org:
        found, _, _ = await _collect(org, secret)
    assert found["tenant_secrets"].state is DatasetState.NOT_LICENSED
    assert found["networks"].state in (DatasetState.NOT_LICENSED, DatasetState.DENIED)


async def test_gated_permissions_that_do_not_exist_are_named(secret: Path) -> None:
    with simulated(Org(has_gated_features=False)) as org:
        found, rows, _ = await _collect(org, secret)
    (catalogue,) = rows.found["permission_catalogue"]
    assert "BypassMFAForUiLogins" in str(catalogue["absent"])
    assert "ModifyAllData" in str(catalogue["existing"])
    assert found["users"].state is DatasetState.OK


async def test_administrators_are_the_same_in_every_language(secret: Path) -> None:
    counts = []
    for language in ("en_US", "de"):
        with simulated(Org(language=language)) as org:
            _, rows, _ = await _collect(org, secret)
        counts.append(sum(1 for row in rows.found["users"] if row["is_system_administrator"]))
    assert counts[0] == counts[1] > 0


async def test_a_lost_cursor_is_survived_once(secret: Path) -> None:
    with simulated(Org(users=5200)) as org:
        org.fail({"kind": "expired_locator", "match": "/query/01g", "times": 1})
        found, rows, _ = await _collect(org, secret)
    assert {name for name, each in found.items() if each.state is not DatasetState.OK} <= NOT_WITH_LEAST_RIGHTS
    assert len(rows.found["users"]) == 5200


async def test_smaller_pages_than_asked_for_change_nothing(secret: Path) -> None:
    with simulated(Org(users=900, page_size=300)) as org:
        found, rows, _ = await _collect(org, secret)
    assert len(rows.found["users"]) == 900
    assert found["users"].state is DatasetState.OK


async def _check(org: Simulated, secret: Path) -> dict[str, DatasetSummary]:
    connection = Connection.model_validate(org.connection("org", secret))
    async with open_connector(connection, CallBudget(1.0)) as connector:
        return {summary.name: summary for summary in await connector.check()}


async def test_a_check_says_what_a_collection_would(secret: Path) -> None:
    for options in (
        {},
        {"seed": "restricted"},
        {"hidden_columns": frozenset({"Certificate.KeySize"})},
        {"rights": frozenset({"PermissionsApiEnabled"})},
        {"rights": frozenset({"PermissionsApiEnabled", "PermissionsViewSetup"})},
    ):
        with simulated(Org(**options)) as org:
            checked, (read, _, _) = await _check(org, secret), await _collect(org, secret)
        assert {name: each.state for name, each in checked.items()} == {name: each.state for name, each in read.items()}
        del checked["collector_permissions"], read["collector_permissions"]
        for name, each in checked.items():
            wanted = {missing.field for missing in read[name].missing_fields if missing.error.code != "no_value"}
            assert {missing.field for missing in each.missing_fields} == wanted, name


async def test_a_check_names_the_base_permissions_that_are_lacking(secret: Path) -> None:
    with simulated(Org(rights=frozenset({"PermissionsApiEnabled"}))) as org:
        found = await _check(org, secret)
    missing = found["collector_permissions"].missing_fields
    lacking = {each.error.permission for each in missing}
    assert lacking == {"View Setup and Configuration", "View All Users", "View Health Check"}


async def test_a_check_reads_one_row_of_each(secret: Path) -> None:
    with simulated(Org(users=5200)) as org:
        found = await _check(org, secret)
    assert sum(each.calls or 0 for each in found.values()) <= 75
    assert max(each.bytes or 0 for each in found.values()) < 300_000


@pytest.mark.parametrize("kind", ["duplicate_rows", "lost_rows", "wrong_total", "changed_order"])
async def test_what_the_org_does_to_pages_is_never_taken_for_whole(kind: str, secret: Path) -> None:
    with simulated(Org(users=5200)) as org:
        org.fail({"kind": kind, "match": "/query/01g", "times": -1}, {"kind": kind, "match": "FROM+User+", "times": -1})
        found, rows, _ = await _collect(org, secret)
    users = rows.found.get("users", [])
    distinct = {row["id"] for row in users}
    assert len(distinct) == len(users)
    assert len(distinct) == 5200 or found["users"].state is not DatasetState.OK


async def test_ages_are_counted_from_the_snapshots_start(secret: Path) -> None:
    with simulated(Org(users=20)) as org:
        connection, now = Connection.model_validate(org.connection("org", secret)), datetime.now(UTC)
        ages = []
        for start in (now, now + timedelta(days=10)):
            rows = Rows()
            async with open_connector(connection, CallBudget(1.0)) as connector:
                await connector.collect(rows, start)
            ages.append({str(row["id"]): row["age_days"] for row in rows.found["users"]})
    assert all(int(str(ages[1][name])) - int(str(age)) == 10 for name, age in ages[0].items())


async def test_an_org_that_asks_for_an_hour_is_not_asked_by_every_dataset(secret: Path) -> None:
    with simulated(Org()) as org:
        org.fail({"kind": "429", "match": "query", "retry_after": 3000})
        found, _, _ = await _collect(org, secret)
    assert all(each.state is DatasetState.ERROR for name, each in found.items() if name != "permission_catalogue")
    assert sum(each.calls or 0 for each in found.values()) <= 10


class Hiding(Org):
    """An org that shows some objects without their rows and does not refuse them, as Salesforce may."""

    hidden: dict[str, set[str]]

    def object(self, name: str, *, tooling: bool = False) -> Entity | None:
        found, shown = super().object(name, tooling=tooling), self.hidden.get(name)
        if found is None or shown is None:
            return found
        kept = [row for row in found.rows() if row[found.key] in shown]
        return listed(found.name, found.columns, kept, found.key)


def _hiding(hidden: dict[str, set[str]], **options: Any) -> Hiding:
    org = Hiding(**options)
    org.hidden = hidden
    return org


async def test_without_view_setup_an_empty_table_is_not_taken_for_empty(secret: Path) -> None:
    rights = frozenset({"PermissionsApiEnabled", "PermissionsViewAllUsers"})
    with simulated(_hiding({"RemoteProxy": set(), "PermissionSetAssignment": set()}, rights=rights)) as org:
        found, _, _ = await _collect(org, secret)
    error = found["remote_sites"].error
    assert error is not None
    assert (found["remote_sites"].state, error.permission) == (DatasetState.TRUNCATED, "View Setup and Configuration")
    assert "is_privileged" in {each.field for each in found["users"].missing_fields}


@pytest.mark.parametrize("shown", ["nobody", "the caller"])
async def test_users_without_an_administrator_are_not_all_users(shown: str, secret: Path) -> None:
    users = {user_id(CALLER)} if shown == "the caller" else set[str]()
    with simulated(_hiding({"User": users})) as org:
        found, _, _ = await _collect(org, secret)
    wanted = DatasetState.TRUNCATED if users else DatasetState.DENIED
    assert found["users"].state is wanted


async def test_an_org_that_shows_no_permission_set_hides_them(secret: Path) -> None:
    with simulated(_hiding({"PermissionSet": set()})) as org:
        found, _, _ = await _collect(org, secret)
    assert found["permission_sets"].state is DatasetState.DENIED
    assert "is_privileged" in {each.field for each in found["users"].missing_fields}


async def test_a_guest_of_a_hidden_profile_is_not_counted_as_harmless(secret: Path) -> None:
    org = Org()
    guests = {row["Id"] for row in org.people.permission_sets.values() if "Guest" in str(row.get("Profile"))}
    everything = {str(row["Id"]) for row in org.people.permission_sets.values()}
    assert guests
    with simulated(_hiding({"PermissionSet": everything - guests})) as served:
        _, rows, _ = await _collect(served, secret)
    assert "guest_users_with_api_access" not in rows.found["guest_access"][0]


async def test_guests_have_what_their_permission_sets_give(secret: Path) -> None:
    with simulated(Org()) as org:
        _, rows, _ = await _collect(org, secret)
    assert all(row["has_api_access"] for row in rows.found["guest_users"])
    of_sets = {row["object"] for row in rows.found["guest_object_access"] if not row["profile_id"]}
    assert of_sets == {"Order"}
    assert rows.found["guest_access"][0]["wholly_reachable_objects"] == 1


@pytest.mark.parametrize("language", ["en_US", "de"])
async def test_clients_that_send_a_password_are_known_in_every_language(language: str, secret: Path) -> None:
    with simulated(Org(language=language)) as org:
        _, rows, _ = await _collect(org, secret)
    weak = [row for row in rows.found["login_activity"] if row["is_weak_flow"]]
    assert {(row["login_sub_type"], row["api_type"]) for row in weak} == {
        ("OauthUsernamePassword", ""),
        ("", "SOAP Partner"),
    }


async def test_login_ranges_are_measured_together(secret: Path) -> None:
    measured = []
    for seed in ("strong", "weak"):
        with simulated(Org(seed=seed)) as org:
            _, rows, _ = await _collect(org, secret)
        (limited,) = (row for row in rows.found["profiles"] if row.get("has_login_ip_ranges"))
        measured.append((limited["login_ip_addresses"], limited["has_unrestricted_login_range"]))
    assert measured == [(256, False), (2**32 - 0x01010101, False)]


async def test_an_app_without_oauth_is_told_from_others(secret: Path) -> None:
    with simulated(Org()) as org:
        _, rows, _ = await _collect(org, secret)
    without = [row for row in rows.found["external_client_apps"] if not row["has_oauth"]]
    assert [row["developer_name"] for row in without] == ["Push_Notices"]
    assert {row.get("is_internal_app") for row in rows.found["oauth_tokens"]} == {True, False, None}


class OddProfiles(Org):
    """An org whose profiles hold a number where their login ranges should be."""

    def object(self, name: str, *, tooling: bool = False) -> Entity | None:
        found = super().object(name, tooling=tooling)
        if found is None or (name, tooling) != ("Profile", True):
            return found
        odd = [{**row, "Metadata": {"loginIpRanges": 7}} for row in found.rows()]
        return listed(found.name, found.columns, odd, found.key)


async def test_a_profile_that_is_not_as_documented_costs_its_fields_alone(secret: Path) -> None:
    with simulated(OddProfiles()) as org:
        found, _, _ = await _collect(org, secret)
    missing = {each.field: each.state for each in found["profiles"].missing_fields}
    assert missing["has_login_ip_ranges"] is DatasetState.ERROR
    assert found["users"].state is DatasetState.OK
