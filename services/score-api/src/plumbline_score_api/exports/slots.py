"""How many exports run at once. Of this replica. Pure."""

from collections import Counter
from collections.abc import Callable

from plumbline_score_api.problems import TooManyError

WAIT_SECONDS = 10


class Slots:
    """At most `most` at once, and of one tenant at most a half of them."""

    def __init__(self, most: int) -> None:
        self._most, self._of_one = most, max(1, most // 2)
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many run now."""
        return self._taken.total()

    def take(self, tenant: str) -> Callable[[], None]:
        """Take a slot; what gives it back, once. Raises TooManyError."""
        if self._taken[tenant] >= self._of_one:
            raise TooManyError(f"{self._of_one} exports of this tenant are running; wait for one.", WAIT_SECONDS)
        if self.taken >= self._most:
            raise TooManyError("Too many exports are running; try again.", WAIT_SECONDS)
        self._taken[tenant] += 1
        is_held = True

        def release() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._taken -= Counter({tenant: 1})

        return release
