"""When a message is tried again. Pure."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

WAITS_SECONDS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""After the first failed attempt, the second, and so on: ten attempts over a little more than three days."""
MOST_ATTEMPTS = len(WAITS_SECONDS) + 1
LONGEST_RETRY_AFTER_SECONDS = 86_400
JITTER = 0.1
"""How much of a wait may be added, so that what failed together is not tried again together."""
_LONGEST_NUMBER = 12


def due_again(attempts: int, now: datetime, asked_seconds: float, chance: float) -> datetime | None:
    """When to try again after failed attempt number `attempts`; None when that was the last one.

    Never sooner than the target asked for. `chance` is a random number from 0 to 1.
    """
    if attempts >= MOST_ATTEMPTS:
        return None
    wait = WAITS_SECONDS[attempts - 1] * (1 + JITTER * chance)
    return now + timedelta(seconds=max(wait, min(asked_seconds, LONGEST_RETRY_AFTER_SECONDS)))


def retry_after(text: str | None, now: datetime) -> float:
    """The seconds that a `Retry-After` asks for, at most a day; 0 for none and for what is no such header."""
    if text is None:
        return 0.0
    sent = text.strip()
    if sent.isascii() and sent.isdecimal():
        return float(min(int(sent[:_LONGEST_NUMBER]), LONGEST_RETRY_AFTER_SECONDS))
    try:
        moment = parsedate_to_datetime(sent)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (aware - now).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), float(LONGEST_RETRY_AFTER_SECONDS))
