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
from plumbline_collector.connectors.servicenow.plan import ServiceNowConnector


@asynccontextmanager
async def open_connector(connection: Connection, budget: CallBudget) -> AsyncIterator[Connector]:
    """A connector for a connection. Opening it sends nothing."""
    if connection.product is Product.SALESFORCE:
        salesforce = SalesforceClient(connection, budget)
        try:
            yield SalesforceConnector(salesforce)
        finally:
            await salesforce.close()
    else:
        servicenow = ServiceNowClient(connection, budget)
        try:
            yield ServiceNowConnector(servicenow)
        finally:
            await servicenow.close()
