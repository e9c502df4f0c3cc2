"""The rights that are written down are the rights that the datasets name: no more, no fewer."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from plumbline_contracts.datasets import datasets
from plumbline_contracts.events import Product
from plumbline_simulators.salesforce import shape

DEPLOY = Path("deploy")
GUIDE = Path("docs/how-to/connect-salesforce.md")
NAMESPACE = {"m": "http://soap.sforce.com/2006/04/metadata"}
NO_DATASET = {"sys_audit", "sys_audit_delete", "sys_plugins"}
"""Who changed what, and the table that stands in for v_plugin."""
DANGEROUS = {"ModifyAllData", "ViewAllData", "ManageUsers", "AuthorApex", "ModifyMetadata", "CustomizeApplication"}


def _granted(files: str = "*.permissionset") -> set[str]:
    found = set()
    for path in (DEPLOY / "salesforce" / "permissionsets").glob(files):
        tree = ElementTree.parse(path)  # noqa: S314 - our own file
        found |= {name.text or "" for name in tree.iterfind("m:userPermissions/m:name", NAMESPACE)}
    return found


def _permissions(product: Product) -> set[str]:
    schemas = datasets(product).values()
    named = {schema.permission for schema in schemas}
    return named | {f.permission for schema in schemas for f in schema.fields.values() if f.permission}


def _guide_rows() -> dict[str, str]:
    """System permission to API name, from the guide's first table."""
    return dict(re.findall(r"^\| (?:base|extended) \| ([^|]+?) \| `(\w+)` \|", GUIDE.read_text(), re.MULTILINE))


def test_a_simulated_user_with_the_permission_sets_holds_what_they_grant() -> None:
    granted = {file: {f"Permissions{name}" for name in _granted(f"{file}.permissionset")}
               for file in ("Plumbline_Base", "Plumbline_Extended")}  # fmt: skip
    assert granted["Plumbline_Base"] == shape.BASE_RIGHTS
    assert granted["Plumbline_Base"] | granted["Plumbline_Extended"] == shape.EXTENDED_RIGHTS


def test_the_permission_sets_and_the_guide_say_the_same_and_nothing_that_writes() -> None:
    assert set(_guide_rows().values()) == _granted()
    assert not _granted() & DANGEROUS


def test_the_guide_names_every_permission_that_a_salesforce_dataset_needs() -> None:
    text = GUIDE.read_text()
    assert [name for name in sorted(_permissions(Product.SALESFORCE)) if name not in text] == []


def test_the_script_opens_the_tables_that_are_read_and_no_others() -> None:
    script = (DEPLOY / "servicenow" / "plumbline-reader.js").read_text()
    listed = re.search(r"TABLES = \[(.*?)\]", script, re.DOTALL)
    assert listed
    opened = set(re.findall(r"'(\w+)'", listed.group(1)))
    needed = {
        table
        for permission in _permissions(Product.SERVICENOW)
        for table in re.findall(r"[a-z][a-z0-9_]+", permission.removeprefix("read ACL on "))
        if table != "and"
    }
    assert opened == needed | NO_DATASET


@pytest.mark.parametrize("product", list(Product))
def test_every_dataset_says_what_it_needs_where_to_grant_it_and_where_it_is_documented(product: Product) -> None:
    for schema in datasets(product).values():
        assert schema.permission
        assert schema.remedy
        assert schema.source
        assert schema.documentation.startswith("https://")
        assert all(field.description and field.source for field in schema.fields.values())
