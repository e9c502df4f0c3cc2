"""One folder per product: `client.py` speaks HTTP, `datasets.py` makes typed rows, `plan.py` says what is read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from plumbline_contracts.events import Product

from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection
from plumbline_collector.connectors.ports import Connector
from plumbline_collector.connectors.salesforce.client import SalesforceClient
from plumbline_collector.connectors.salesforce.plan import SalesforceConnector
from plumbline_collector.connectors.servicenow.client import ServiceNowClient
from plumbline_collector.connectors.servicenow.connector import ServiceNowConnector


@asynccontextmanager
async def open_connector(
    connection: Connection, budget: CallBudget, *, is_lenient: bool = False
) -> AsyncIterator[Connector]:
    """A connector for a connection. Opening it sends nothing. `is_lenient`: see `SaasClient`."""
    if connection.product is Product.SALESFORCE:
        salesforce = SalesforceClient(connection, budget, is_lenient=is_lenient)
        try:
            yield SalesforceConnector(salesforce)
        finally:
            await salesforce.close()
    else:
        servicenow = ServiceNowClient(connection, budget, is_lenient=is_lenient)
        try:
            yield ServiceNowConnector(servicenow)
        finally:
            await servicenow.close()
