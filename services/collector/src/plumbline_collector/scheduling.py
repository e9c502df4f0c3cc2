"""What is due, how often to look for changes, and which offsets may be committed. Pure."""

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from plumbline_contracts import ids
from plumbline_contracts.events import ApiBudget, CollectionRequest, InstanceStatus, RequestReason

from plumbline_collector.connections import Connection

LONGEST_BACKOFF = timedelta(hours=1)
FIRST_BACKOFF = timedelta(seconds=30)
WATCH_STRETCH = ((0.9, 16), (0.75, 4), (0.5, 2))
FULL_STRETCH = ((0.9, 4),)
_URGENCY = (RequestReason.USER, RequestReason.CHANGE, RequestReason.SCHEDULE)


def backoff(failures: int) -> timedelta:
    """How long to wait after so many failures in a row: 30 s doubling to an hour."""
    return min(FIRST_BACKOFF * int(2 ** max(0, min(failures, 10) - 1)), LONGEST_BACKOFF)


def spent_share(budget: ApiBudget | None, now: datetime) -> float:
    """How much of what a connection may call today is gone: of its own share, or of the product's limit; 0 unknown."""
    if budget is None or not budget.daily_limit or budget.day != now.astimezone(UTC).date().isoformat():
        return 0.0
    of_share = budget.used_by_us / (budget.share * budget.daily_limit)
    return max(of_share, (budget.used_in_total or 0) / budget.daily_limit)


def _stretch(spent: float, steps: Iterable[tuple[float, int]]) -> int:
    return next((factor for threshold, factor in steps if spent >= threshold), 1)


def watch_interval(connection: Connection, spent: float) -> timedelta:
    """How long until the next look for changes: the first rhythm that gives way when the API share runs short."""
    return connection.schedule.changes * _stretch(spent, WATCH_STRETCH)


def full_interval(connection: Connection, spent: float) -> timedelta:
    """How long until the next full collection; it gives way last."""
    return connection.schedule.full * _stretch(spent, FULL_STRETCH)


def due_at(connection: Connection, status: InstanceStatus | None, now: datetime) -> datetime | None:
    """When the next full collection is due; None when it is due at once because none was ever tried."""
    if status is None or status.last_run is None:
        return None
    last, interval = status.last_run, full_interval(connection, spent_share(status.budget, now))
    if not last.succeeded:
        return last.completed_at + min(backoff(status.consecutive_failures), interval)
    return last.started_at + interval


def due_requests(
    connections: Iterable[Connection], statuses: Mapping[str, InstanceStatus], now: datetime
) -> list[CollectionRequest]:
    """A request for every instance whose full collection is due. The same due time gives the same request id."""
    requests = []
    for connection in connections:
        due = due_at(connection, statuses.get(connection.key), now)
        if due is not None and due > now:
            continue
        stamp = (due or datetime(1970, 1, 1, tzinfo=UTC)).isoformat()
        requests.append(
            CollectionRequest(
                request_id=ids.scheduled_request_id(connection.tenant, connection.instance, stamp),
                tenant=connection.tenant,
                instance=connection.instance,
                reason=RequestReason.SCHEDULE,
                requested_by="scheduler",
                requested_at=now,
            )
        )
    return requests


def next_to_run(
    waiting: Mapping[str, Iterable[RequestReason]], running: Collection[str], places: int, *, tenants: int
) -> list[str]:
    """Which waiting instances (`tenant/instance`) get the free places now, in order.

    People's requests go first, then changes, then the schedule; among equals, the tenant with the fewest running. Where
    there are several tenants, one takes at most half of the places, so that its slow instances never stop the others.
    """
    held = Counter(key.partition("/")[0] for key in running)
    most = places if tenants < 2 else max(1, places // 2)
    free, chosen = places - len(running), list[str]()
    candidates = {key: min(map(_URGENCY.index, reasons)) for key, reasons in waiting.items() if key not in running}
    while free > len(chosen) and candidates:
        key = min(candidates, key=lambda name: (candidates[name], held[name.partition("/")[0]]))
        del candidates[key]
        tenant = key.partition("/")[0]
        if held[tenant] < most:
            held[tenant] += 1
            chosen.append(key)
    return chosen


class OffsetTracker:
    """Offsets of one partition that are in work; only a contiguous finished prefix may be committed."""

    def __init__(self) -> None:
        self._order: deque[int] = deque()
        self._done: set[int] = set()
        self._newest = -1

    def add(self, offset: int) -> bool:
        """Take an offset into work; False when it was taken before."""
        if offset <= self._newest:
            return False
        self._order.append(offset)
        self._newest = offset
        return True

    def finish(self, offset: int) -> None:
        """An offset's work is done."""
        self._done.add(offset)

    def committable(self) -> int | None:
        """The offset to commit (one past the finished prefix); None when the prefix has not grown."""
        position = None
        while self._order and self._order[0] in self._done:
            position = self._order.popleft()
            self._done.discard(position)
        return None if position is None else position + 1

    def __len__(self) -> int:
        return len(self._order)
