"""How many calls of a product's API a connection may make in a day."""

from datetime import UTC, datetime

from plumbline_contracts.events import ApiBudget

from plumbline_collector.connections import Connection
from plumbline_collector.errors import BudgetExhaustedError


class CallBudget:
    """Counts our calls of the current UTC day and holds them against our share of the product's limit."""

    def __init__(self, share: float, known: ApiBudget | None = None) -> None:
        self._share = share
        self._day = known.day if known else ""
        self._used = known.used_by_us if known else 0
        self._in_total = known.used_in_total if known else None
        self._limit = known.daily_limit if known else None

    def take(self) -> None:
        """Count one call. Raises BudgetExhaustedError when the share of the day is used up."""
        self._roll_over()
        if self._limit is not None and self._used >= self._share * self._limit:
            raise BudgetExhaustedError(
                f"{self._used} calls today use up the connection's share of the API limit "
                f"({self._share:.0%} of {self._limit}); raise api_share or read less often"
            )
        self._used += 1

    @property
    def left(self) -> int | None:
        """Calls that the share of today still allows; None while the product's limit is not known."""
        return None if self._limit is None else max(0, int(self._share * self._limit) - self._used)

    def observe(self, used_in_total: int, daily_limit: int) -> None:
        """Take what the product says of its own limit."""
        self._in_total, self._limit = used_in_total, daily_limit

    def state(self) -> ApiBudget:
        """For `instance-status`, so that a restart does not forget."""
        self._roll_over()
        return ApiBudget(
            used_by_us=self._used,
            used_in_total=self._in_total,
            daily_limit=self._limit,
            share=self._share,
            day=self._day,
        )

    def _roll_over(self) -> None:
        today = datetime.now(UTC).date().isoformat()
        if self._day != today:
            self._day, self._used = today, 0


class Budgets:
    """One budget per connection, shared by all that calls for it; a changed share keeps the count."""

    def __init__(self) -> None:
        self._budgets: dict[str, tuple[float, CallBudget]] = {}

    def of(self, connection: Connection, known: ApiBudget | None) -> CallBudget:
        """The budget of a connection; `known` is what its status says, for the first time only."""
        share, budget = self._budgets.get(connection.key, (connection.api_share, None))
        if budget is None or share != connection.api_share:
            budget = CallBudget(connection.api_share, budget.state() if budget else known)
            self._budgets[connection.key] = (connection.api_share, budget)
        return budget

    def forget(self, key: str) -> None:
        """Drop the count of an instance that another replica calls now; its status will tell."""
        self._budgets.pop(key, None)
