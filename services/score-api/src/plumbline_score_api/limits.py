"""How much one caller may ask, and how often one address may fail to log in. Of this replica, in bounded memory. Pure.

A bucket holds as many tokens as may be spent at once, and fills with time. Buckets that nobody used lately give way to
new ones: who is forgotten begins with a full bucket, so the bound is generous rather than exact under a flood of
addresses.
"""

import hashlib
import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass

MOST_BUCKETS = 20_000
MOST_GOOD = 20_000
GOOD_SECONDS = 600.0
IPV6_PREFIX = 64


@dataclass
class _Bucket:
    left: float
    at: float


class Buckets:
    """One bucket per name: `burst` at once, refilled at `per_minute`."""

    def __init__(self, per_minute: float, burst: int, most: int = MOST_BUCKETS) -> None:
        self._per_second, self._burst, self._most = per_minute / 60, float(burst), most
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, name: str, now: float) -> float:
        """Seconds until one more is allowed; 0 when it is allowed now. Spends nothing."""
        bucket = self._buckets.get(name)
        lacking = 1 - self._filled(bucket, now) if bucket else 0.0
        return max(0.0, lacking) / self._per_second

    def spend(self, name: str, now: float) -> None:
        """Spend one, as far as there is one."""
        bucket = self._buckets.pop(name, None) or _Bucket(self._burst, now)
        self._buckets[name] = _Bucket(max(0.0, self._filled(bucket, now) - 1), max(now, bucket.at))
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)

    def _filled(self, bucket: _Bucket, now: float) -> float:
        return min(self._burst, bucket.left + max(0.0, now - bucket.at) * self._per_second)


class GoodCredentials:
    """Digests of credentials that were good some minutes ago, so that a neighbour's failures do not keep them out."""

    def __init__(self, most: int = MOST_GOOD) -> None:
        self._most = most
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, credentials: str, now: float) -> None:
        """They are good now."""
        digest = _digest(credentials)
        self._seen.pop(digest, None)
        self._seen[digest] = now
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)

    def holds(self, credentials: str, now: float) -> bool:
        """Whether they were good lately."""
        at = self._seen.get(_digest(credentials))
        return at is not None and now - at <= GOOD_SECONDS


def _digest(credentials: str) -> bytes:
    return hashlib.sha256(credentials.encode("utf-8", "surrogateescape")).digest()


class Limits:
    """Requests per caller, and failed logins per address. 0 per minute means without a limit."""

    def __init__(self, *, requests_per_minute: int = 0, failed_logins_per_minute: int = 0) -> None:
        self._requests = Buckets(requests_per_minute, max(1, requests_per_minute // 6)) if requests_per_minute else None
        self._failures = (
            Buckets(failed_logins_per_minute, failed_logins_per_minute) if failed_logins_per_minute else None
        )
        self._good = GoodCredentials()

    def of_login(self, address: str, credentials: str, now: float) -> int:
        """Whole seconds that an address which failed too often has to wait; 0 when it may try."""
        if self._failures is None or self._good.holds(credentials, now):
            return 0
        return math.ceil(self._failures.wait(network_of(address), now))

    def failed(self, address: str, now: float) -> None:
        """A login from there failed."""
        if self._failures is not None:
            self._failures.spend(network_of(address), now)

    def succeeded(self, credentials: str, now: float) -> None:
        """Credentials are good."""
        if self._failures is not None:
            self._good.add(credentials, now)

    def of_request(self, caller: str, now: float) -> int:
        """Whole seconds that a caller has to wait; 0 when the request is allowed, which then counts."""
        if self._requests is None:
            return 0
        wait = self._requests.wait(caller, now)
        if not wait:
            self._requests.spend(caller, now)
        return math.ceil(wait)


def network_of(address: str) -> str:
    """Whom an address stands for: itself, or for IPv6 its /64, of which one user has all addresses."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
