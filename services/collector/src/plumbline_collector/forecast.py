"""How many API calls a connection will make in a day, before it makes any. Pure."""

import math
from dataclasses import dataclass
from datetime import timedelta

from plumbline_contracts.events import Product

from plumbline_collector.connections import Basic, Connection
from plumbline_collector.connectors.salesforce.plan import METHODS_BATCH
from plumbline_collector.connectors.servicenow.client import PAGE_ROWS
from plumbline_collector.connectors.servicenow.plan import BUILD_PROPERTIES, NAMES_PER_QUERY, WATCHED, names

SALESFORCE_PAGE_ROWS = 2000
METHODS_PAGE_ROWS = 500
SALESFORCE_SINGLE_READS = 5
"""Organization, security settings, remote sites, the caller's own rights, audit trail."""
SERVICENOW_SINGLE_READS = 2
"""Plugins, script actions."""
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Forecast:
    """Calls of one connection at its written rhythms, on a day without changes."""

    instance: str
    product: Product
    full_runs_per_day: int
    calls_per_full_run: int
    looks_per_day: int
    calls_per_look: int
    api_share: float

    @property
    def calls_per_day(self) -> int:
        """All calls, logins included."""
        return self.full_runs_per_day * self.calls_per_full_run + self.looks_per_day * self.calls_per_look

    @property
    def daily_limit_needed(self) -> int:
        """The product's daily limit under which the connection's share is enough."""
        return math.ceil(self.calls_per_day / self.api_share)


def forecast(connection: Connection, users: int) -> Forecast:
    """What a connection will call for an org of so many active users."""
    look = 1 if connection.product is Product.SALESFORCE else len(WATCHED)
    login = 0 if isinstance(connection.auth, Basic) or connection.auth.method == "api_key" else 1
    reads = _salesforce_reads(users) if connection.product is Product.SALESFORCE else _servicenow_reads(users)
    return Forecast(
        instance=connection.key,
        product=connection.product,
        full_runs_per_day=math.ceil(_DAY / connection.schedule.full),
        calls_per_full_run=login + look + reads,
        looks_per_day=math.ceil(_DAY / connection.schedule.changes),
        calls_per_look=look,
        api_share=connection.api_share,
    )


def _pages(rows: int, size: int) -> int:
    return max(1, math.ceil(rows / size))


def _salesforce_reads(users: int) -> int:
    """Single reads, frozen logins, grants, the count and the batches of MFA methods, the users themselves."""
    pages = _pages(users, SALESFORCE_PAGE_ROWS)
    of_batch = METHODS_BATCH // METHODS_PAGE_ROWS
    methods = users // METHODS_BATCH * of_batch + _pages(users % METHODS_BATCH, METHODS_PAGE_ROWS)
    return SALESFORCE_SINGLE_READS + 1 + 1 + 1 + methods + pages


def _servicenow_reads(users: int) -> int:
    """Single reads, the groups of property names, roles, MFA registrations, the users themselves."""
    groups = math.ceil(len((*BUILD_PROPERTIES, *names("property_names.txt"))) / NAMES_PER_QUERY)
    pages = _pages(users, PAGE_ROWS)
    return SERVICENOW_SINGLE_READS + groups + 1 + pages + pages
