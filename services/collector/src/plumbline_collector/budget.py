"""How many calls of a product's API a connection may make in a day, and how fast."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from plumbline_contracts.events import ApiBudget, DatasetState

from plumbline_collector.connections import Connection
from plumbline_collector.errors import BudgetExhaustedError, ReadError

LEAVE_TO_OTHERS = 0.9
"""Of the product's own limit, used up by everybody together: beyond it we ask for nothing more."""
SLOW_DOWN_AT = 0.75
SLOW_SECONDS = 0.5
ASK_AGAIN_SECONDS = 900.0
"""How often one call may find out whether the others' use has fallen again."""
HOURS_PER_DAY = 24


@dataclass
class _Window:
    """An hour in which the product lets a number of calls through, and what we made of them."""

    limit: int
    ends_at: float
    used: int = 0


class CallBudget:
    """Counts our calls of the current UTC day and holds them against our share of the product's limit."""

    def __init__(self, share: float, known: ApiBudget | None = None) -> None:
        self._share = share
        self._day = known.day if known else ""
        self._used = known.used_by_us if known else 0
        self._in_total = known.used_in_total if known else None
        self._in_total_at = 0.0
        self._limit = known.daily_limit if known else None
        self._window: _Window | None = None

    def take(self) -> None:
        """Count one call.

        Raises BudgetExhaustedError when there is none to take today, and ReadError when there is none this hour, so
        that what was read before is kept.
        """
        self._roll_over()
        self._require_share()
        self._require_room()
        self._require_window()
        self._used += 1
        if self._window is not None:
            self._window.used += 1

    def _require_share(self) -> None:
        if self._limit is not None and self._used >= self._share * self._limit:
            raise BudgetExhaustedError(
                f"{self._used} calls today use up the connection's share of the API limit "
                f"({self._share:.0%} of {self._limit}); raise api_share or read less often"
            )

    def _require_room(self) -> None:
        """What the others used is only known from an answer, so a call now and then asks."""
        if self._pressure() < LEAVE_TO_OTHERS or time.monotonic() - self._in_total_at >= ASK_AGAIN_SECONDS:
            return
        raise BudgetExhaustedError(
            f"{self._in_total} of the {self._limit} calls that the product allows are used up, by all its clients "
            "together; the last tenth is left to the others. It is tried again when their use has fallen"
        )

    def _require_window(self) -> None:
        window = self._window
        if window is None or window.used < window.limit * LEAVE_TO_OTHERS or window.ends_at <= time.time():
            return
        until = datetime.fromtimestamp(window.ends_at, UTC).strftime("%H:%M:%S")
        message = (
            f"{window.used} of the {window.limit} calls that a rate limit rule of the product allows in an hour are "
            f"used up until {until} UTC; raise the rule for the collector's user or read less often"
        )
        raise ReadError(DatasetState.ERROR, "rate_limit", message)

    @property
    def pause_seconds(self) -> float:
        """How long to wait before the next call, so that we are slow before we are told to be."""
        window = self._window
        is_window_filling = window is not None and window.used >= window.limit * SLOW_DOWN_AT
        return SLOW_SECONDS if is_window_filling or self._pressure() >= SLOW_DOWN_AT else 0.0

    def _pressure(self) -> float:
        """The part of the product's limit that all its clients together have used; 0 while it is not known."""
        return (self._in_total or 0) / self._limit if self._limit else 0.0

    @property
    def left(self) -> int | None:
        """Calls that the share of today still allows; None while the product's limit is not known."""
        return None if self._limit is None else max(0, int(self._share * self._limit) - self._used)

    def observe(self, used_in_total: int, daily_limit: int) -> None:
        """Take what the product says of its own daily limit."""
        self._in_total, self._limit, self._in_total_at = used_in_total, daily_limit, time.monotonic()

    def observe_window(self, hourly_limit: int, ends_at: float) -> None:
        """Take a rate limit rule of calls an hour, whose present hour ends at `ends_at` (seconds since 1970)."""
        self._limit = hourly_limit * HOURS_PER_DAY
        if self._window is None or self._window.ends_at != ends_at:
            self._window = _Window(hourly_limit, ends_at, used=1)
        self._window.limit = hourly_limit

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
