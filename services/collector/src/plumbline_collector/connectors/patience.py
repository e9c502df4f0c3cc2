"""How much failing one collection endures before it asks for nothing more."""

import time

BASE_SECONDS = 75.0
"""What failed attempts and the waits between them may cost: with the longest single attempt, less than two minutes."""
SECONDS_PER_CALL = 0.25
FREE_CALLS = 100
LONGEST_SECONDS = 900.0
SHORTEST_ATTEMPT_SECONDS = 20.0
FAILURES_IN_A_ROW = 5
SHORT_SECONDS = 100.0
"""How long a collection that a person waits for may take, if it is small; answers in time included."""
SHORT_SECONDS_PER_CALL = 5.0
LAST_ATTEMPT_SECONDS = 10.0


class Patience:
    """The retry budget of one collection: time lost to failures, and requests that failed one after the other.

    A large collection may lose more time than a small one: each call beyond the first hundred that was answered adds
    a quarter of a second. `given_up` says why nothing more is asked; None as long as there is patience. With `is_short`
    the whole is bounded too, by time that grows with the calls beyond the first hundred.
    """

    def __init__(self, *, is_short: bool = False) -> None:
        self.given_up: str | None = None
        self._began = time.monotonic() if is_short else None
        self._lost_seconds = 0.0
        self._answered = 0
        self._failed_in_a_row = 0

    @property
    def left_seconds(self) -> float:
        """How much time may still be lost."""
        earned = max(0, self._answered - FREE_CALLS) * SECONDS_PER_CALL
        return max(0.0, min(BASE_SECONDS + earned, LONGEST_SECONDS) - self._lost_seconds)

    def attempt_seconds(self, most: float) -> float:
        """How long the next attempt may take: `most`, or the patience that is left, but never too short to answer."""
        bound = min(most, max(SHORTEST_ATTEMPT_SECONDS, self.left_seconds))
        return bound if self._began is None else min(bound, max(LAST_ATTEMPT_SECONDS, self._until_end(self._began)))

    def check(self) -> None:
        """Give up when the time of a short collection is over."""
        if self._began is not None and self._until_end(self._began) <= 0:
            self.give_up(f"the product answers slowly, and {time.monotonic() - self._began:.0f} s are over")

    def _until_end(self, began: float) -> float:
        earned = max(0, self._answered - FREE_CALLS) * SHORT_SECONDS_PER_CALL
        return began + SHORT_SECONDS + earned - time.monotonic()

    def answered(self) -> None:
        """A request was answered."""
        self._answered += 1
        self._failed_in_a_row = 0

    def lose(self, seconds: float) -> None:
        """An attempt or a wait took so long and brought nothing."""
        self._lost_seconds += seconds

    def failed(self, problem: str) -> None:
        """A request failed for good, after its retries."""
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= FAILURES_IN_A_ROW:
            self.give_up(f"{FAILURES_IN_A_ROW} requests in a row failed, the last with: {problem}")
        elif not self.left_seconds:
            self.give_up(f"failures took {self._lost_seconds:.0f} s of this collection, the last with: {problem}")

    def give_up(self, reason: str) -> None:
        """Ask for nothing more."""
        self.given_up = self.given_up or f"{reason}; nothing more is asked until the next run"
