"""Columns that may not be read are left out, and the fields made of them are named."""

from typing import Any, cast

import pytest
from plumbline_collector.connectors.salesforce.client import SalesforceClient
from plumbline_collector.connectors.salesforce.objects import ObjectReader
from plumbline_collector.connectors.salesforce.soql import Selection
from plumbline_collector.errors import ReadError
from plumbline_contracts.datasets import datasets
from plumbline_contracts.events import DatasetState, Product

from tests.unit.collector.salesforce.fake_org import FakeOrg, rows_of

SCHEMA = datasets(Product.SALESFORCE)["certificates"]
COLUMNS = ("Id", "DeveloperName", "ExpirationDate", "KeySize", "OptionsIsCaSigned", "OptionsIsUnusable")


def _reader(org: FakeOrg, **options: Any) -> ObjectReader:
    return ObjectReader(cast("SalesforceClient", org), **options)


def _org() -> FakeOrg:
    return FakeOrg({"Certificate": [dict.fromkeys(COLUMNS, "x")]})


async def test_a_hidden_column_is_left_out_and_its_fields_are_denied() -> None:
    org = _org()
    org.hidden = {"ExpirationDate"}
    reader = _reader(org)
    assert len(await rows_of(await reader.open(Selection("Certificate", COLUMNS, key="Id")))) == 1
    missing = {each.field: each for each in reader.missing_fields(SCHEMA, "Certificate")}
    assert set(missing) == {"expires_at", "days_to_expiry", "is_expired"}
    each = missing["is_expired"]
    assert each.state is DatasetState.DENIED
    assert each.error.permission == "Read on the field Certificate.ExpirationDate"
    assert "Field-Level Security" in (each.error.remedy or "")


async def test_what_was_found_hidden_is_not_asked_for_again() -> None:
    org = _org()
    org.hidden = {"KeySize"}
    reader, selection = _reader(org), Selection("Certificate", COLUMNS)
    await reader.open(selection)
    before = org.calls
    await reader.open(selection)
    assert org.calls == before + 1


async def test_after_three_columns_one_description_tells_the_rest() -> None:
    org = _org()
    org.hidden = set(COLUMNS[1:])
    org.described = {"Id": "Id"}
    reader = _reader(org)
    await reader.open(Selection("Certificate", COLUMNS, key="Id"))
    assert org.calls == 3 + 1 + 1 + 1
    assert org.asked[-1] == "SELECT Id FROM Certificate ORDER BY Id"
    assert len(reader.missing_fields(SCHEMA, "Certificate")) == 7


async def test_an_unknown_object_is_an_error_of_its_own() -> None:
    with pytest.raises(ReadError, match="INVALID_TYPE"):
        await _reader(FakeOrg({})).open(Selection("Certificate", COLUMNS))


async def test_an_object_without_its_key_is_not_read() -> None:
    org = _org()
    org.hidden = {"Id"}
    with pytest.raises(ReadError, match="INVALID_FIELD"):
        await _reader(org).open(Selection("Certificate", COLUMNS, key="Id"))


async def test_a_probe_asks_for_one_row() -> None:
    org = _org()
    await _reader(org, is_probe=True).open(Selection("Certificate", COLUMNS))
    assert org.asked[-1].endswith("LIMIT 1")


@pytest.mark.parametrize("count", [0, 2])
async def test_a_document_is_one_record(count: int) -> None:
    org = FakeOrg({"Certificate": [{"Id": str(number)} for number in range(count)]})
    with pytest.raises(ReadError, match="no_record"):
        await _reader(org).only_record(Selection("Certificate", ("Id",)))
