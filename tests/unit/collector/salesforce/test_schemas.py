"""The schemas say where each field comes from, and no query asks for a secret."""

import pytest
from plumbline_collector.connectors.salesforce import apps, costs, org, people, sites, tables, users
from plumbline_collector.connectors.salesforce.columns import SourceColumns
from plumbline_collector.connectors.salesforce.run import SCHEMAS
from plumbline_collector.connectors.salesforce.settings import SINCE_VERSION
from plumbline_collector.connectors.salesforce.soql import Selection
from plumbline_collector.connectors.salesforce.tables import Table

PLAIN = [*tables.TABLES, *(each for each in vars(tables).values() if isinstance(each, Table))]
FIXED = [
    each
    for module in (people, sites, apps, org, users)
    for each in vars(module).values()
    if isinstance(each, Selection)
]
SELECTIONS = [*(table.selection(SCHEMAS[table.dataset]) for table in PLAIN), *FIXED]
SECRET_WORDS = ("secret", "password", "token", "sharedkey", "privatekey", "publicurl")
HARMLESS = (
    "preferences",
    "options",
    "authoptions",
    "refreshtoken",
    "oauthscopes",
    "lastpasswordchange",
    "ispasswordlocked",
)
"""How columns begin that speak of secrets and hold none."""


@pytest.mark.parametrize("selection", SELECTIONS, ids=lambda each: each.api_object)
def test_no_query_names_a_column_that_holds_a_secret(selection: Selection) -> None:
    for column in selection.columns:
        last = column.lower().rsplit(".", 1)[-1]
        assert last.startswith(HARMLESS) or not any(word in last for word in SECRET_WORDS), column


@pytest.mark.parametrize("table", PLAIN, ids=lambda each: each.dataset)
def test_a_table_selects_what_its_fields_name(table: Table) -> None:
    schema = SCHEMAS[table.dataset]
    source = SourceColumns(schema, schema.source)
    assert source.columns
    assert table.empty <= schema.fields.keys()
    assert not table.count or table.count in schema.fields
    assert table.key in ("", *source.columns)


def test_every_dataset_is_complete_for_a_person() -> None:
    for schema in SCHEMAS.values():
        assert schema.permission in schema.remedy
        assert schema.source.lower() in schema.documentation or schema.kind == "document"
        assert all(field.source and field.description for field in schema.fields.values())


def test_every_metadata_field_is_read_from_where_its_source_says() -> None:
    for schema in SCHEMAS.values():
        paths = SourceColumns(schema, schema.source).copied.values()
        assert len(set(paths)) == len(list(paths)), schema.name


def test_fields_of_later_versions_exist() -> None:
    assert all(field in SCHEMAS[dataset].fields for dataset, field in SINCE_VERSION)


def test_a_column_is_traced_to_its_fields() -> None:
    source = SourceColumns(SCHEMAS["users"], "User")
    assert "is_sso_bound" in source.fields_made_of(["FederationIdentifier"])
    assert set(source.fields_made_of(["UserType"])) >= {"user_type", "is_standard", "is_guest", "is_external"}
    assert "Profile.UserLicense.LicenseDefinitionKey" in source.columns
    assert not any("Permissions" in column or "IsFrozen" in column for column in source.columns)


def test_costs_know_every_dataset_that_is_read_by_itself() -> None:
    assert costs.calls_by_dataset({}).keys() <= SCHEMAS.keys()
