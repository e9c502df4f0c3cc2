"""Reading sites, with the details that another object holds."""

from plumbline_contracts.events import DatasetSummary, MissingField, Row

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.rows import typed
from plumbline_collector.connectors.salesforce import cells, tables
from plumbline_collector.connectors.salesforce.cells import text
from plumbline_collector.connectors.salesforce.pages import Record
from plumbline_collector.connectors.salesforce.run import SCHEMAS, Run
from plumbline_collector.connectors.salesforce.soql import Selection
from plumbline_collector.errors import ReadError

_DETAILS = Selection("SiteDetail", ("DurableId", "IsRegistrationEnabled", "SecureUrl"), tooling=True)
_DETAIL_FIELDS = ["is_registration_enabled", "secure_url"]


async def sites(run: Run) -> DatasetSummary:
    """`sites`: few enough that what is joined to them is remembered by site."""
    details: dict[str, Row] = {}
    schema, missing = SCHEMAS["sites"], list[MissingField]()

    def remember(record: Record) -> None:
        is_open = cells.truth(record.get("IsRegistrationEnabled"))
        row: Row = {"secure_url": text(record.get("SecureUrl"))}
        details[text(record["DurableId"])[:15]] = (
            row if is_open is None else {**row, "is_registration_enabled": is_open}
        )

    try:
        async for records in await run.objects.open(_DETAILS):
            typed(remember, records)
    except ReadError as failure:
        missing = summaries.missing_fields(schema, _DETAIL_FIELDS, failure)
    return await run.table(tables.SITES, lambda record: details.get(text(record["Id"])[:15], {}), missing=missing)
