"""How many API calls a connection will make in a day, before it makes any. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from plumbline_contracts.events import Product

from plumbline_collector.connections import Basic, Connection
from plumbline_collector.connectors.salesforce import plan as salesforce
from plumbline_collector.connectors.servicenow import plan as servicenow

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Forecast:
    """Calls of one connection at its written rhythms, on a day without changes."""

    instance: str
    product: Product
    full_runs_per_day: int
    calls_by_dataset: dict[str, int]
    calls_besides: int
    """Of one collection, for no dataset: the login, and where the record of changes ends."""
    looks_per_day: int
    calls_per_look: int
    api_share: float

    @property
    def calls_per_full_run(self) -> int:
        """All calls of one collection that the product counts."""
        return sum(self.calls_by_dataset.values()) + self.calls_besides

    @property
    def calls_per_day(self) -> int:
        """All calls, logins included."""
        return self.full_runs_per_day * self.calls_per_full_run + self.looks_per_day * self.calls_per_look

    @property
    def daily_limit_needed(self) -> int:
        """The product's daily limit under which the connection's share is enough."""
        return math.ceil(self.calls_per_day / self.api_share)


def forecast(connection: Connection, users: int, rows: Mapping[str, int] | None = None) -> Forecast:
    """What a connection will call for an org of so many active users.

    `rows` says how many rows an object or table really has; the others are taken to have what is typical for an org
    of that size.
    """
    plan = salesforce if connection.product is Product.SALESFORCE else servicenow
    login = 0 if isinstance(connection.auth, Basic) or connection.auth.method == "api_key" else 1
    return Forecast(
        instance=connection.key,
        product=connection.product,
        full_runs_per_day=math.ceil(_DAY / connection.schedule.full),
        calls_by_dataset=plan.calls_by_dataset({**plan.typical_rows(users), **(rows or {})}),
        calls_besides=login + plan.CALLS_OF_FIRST_LOOK,
        looks_per_day=math.ceil(_DAY / connection.schedule.changes),
        calls_per_look=plan.CALLS_PER_LOOK,
        api_share=connection.api_share,
    )
