"""Single values of Salesforce's answers in our types. Pure."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from pydantic import JsonValue

LARGEST = 2**63 - 1
"""The largest integer that an expression can hold."""
CLOCK_SKEW = timedelta(days=1)
_YES, _NO = frozenset({"true", "1", "enabled"}), frozenset({"false", "0", "disabled"})
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_PEM_EDGE = re.compile(r"-----[A-Z ]+-----")


def at_path(record: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - a cell
    """The value at a dotted path; None when a relation of it is null. Raises LookupError when it was not sent."""
    value: Any = record
    for step in path.split("."):
        if value is None:
            return None
        if not isinstance(value, dict):
            raise LookupError(path)
        value = value[step]
    return value


def text(value: Any) -> str:  # noqa: ANN401 - a cell
    """A text; empty for anything else."""
    return value if isinstance(value, str) else ""


def truth(value: Any) -> bool | None:  # noqa: ANN401 - a cell
    """A boolean in each form that the API uses: true, "true", "1", "Enabled"; None for anything else."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _YES:
        return True
    return False if word in _NO else None


def number(value: Any) -> float | None:  # noqa: ANN401 - a cell
    """A number, also one that was sent as text; None for anything else, booleans included."""
    if isinstance(value, bool) or value is None:
        return None
    return float(value) if _NUMBER.fullmatch(str(value).strip()) else None


def whole(value: Any) -> int | None:  # noqa: ANN401 - a cell
    """A whole number, also one that was sent as text; None for anything else."""
    found = number(value)
    return int(found) if found is not None and found.is_integer() and abs(found) <= LARGEST else None


def moment(value: Any) -> datetime | None:  # noqa: ANN401 - a cell
    """A date (midnight UTC) or date-time such as `2026-08-01T09:12:33.000+0000`, in UTC; None when there is none."""
    if not isinstance(value, str) or not value:
        return None
    found = datetime.fromisoformat(value)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def rfc3339(at: datetime) -> str:
    """A moment as it stands in a row or a query: UTC, milliseconds."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def days_since(value: Any, started_at: datetime) -> int | None:  # noqa: ANN401 - a cell
    """Whole days from a moment to the snapshot's start, never below 0; None without a moment.

    None also when it is more than a day in the future: that is no clock that is fast, it is a wrong value.
    """
    at = moment(value)
    return None if at is None or at - started_at > CLOCK_SKEW else max(0, (started_at - at).days)


def days_until(value: Any, started_at: datetime) -> int | None:  # noqa: ANN401 - a cell
    """Whole days from the snapshot's start to a moment, negative once it has passed; None without a moment."""
    at = moment(value)
    return None if at is None else (at - started_at).days


def typed_cell(value: Any, type_name: str) -> JsonValue:  # noqa: ANN401 - a cell
    """A cell in the type of its field; None when it holds nothing of that type."""
    return None if value is None else _TYPED[type_name](value)


def _typed_timestamp(value: Any) -> JsonValue:  # noqa: ANN401 - a cell
    at = moment(value)
    return None if at is None else rfc3339(at)


def _typed_list(value: Any) -> JsonValue:  # noqa: ANN401 - a cell
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else None


def _typed_text(value: Any) -> JsonValue:  # noqa: ANN401 - a cell
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


_TYPED: dict[str, Callable[[Any], JsonValue]] = {
    "timestamp": _typed_timestamp,
    "string_list": _typed_list,
    "string": _typed_text,
    "bool": truth,
    "int": whole,
    "double": number,
}


def is_secure_url(url: str) -> bool:
    """Whether an address is reached over TLS."""
    return url.strip().lower().startswith(("https://", "wss://"))


def is_catch_all(pattern: str) -> bool:
    """Whether a pattern of addresses admits any host, or any host of a top-level domain: `*`, `https://*.com`."""
    rest = pattern.strip().lower()
    host = rest.split("://", 1)[-1].split("/", 1)[0].split(":", 1)[0]
    labels = [label for label in host.split(".") if label]
    return bool(labels) and labels[0] == "*" and len(labels) <= 2


def has_wildcard(pattern: str) -> bool:
    """Whether a pattern of addresses admits more than one host."""
    return "*" in pattern


def host_of(url: str) -> str:
    """The host of an address in lower case; empty when it has none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def addresses_between(start: Any, end: Any) -> int | None:  # noqa: ANN401 - cells
    """How many IP addresses a range holds, at most `LARGEST`; None when the two make no range."""
    try:
        first, last = ipaddress.ip_address(text(start)), ipaddress.ip_address(text(end))
    except ValueError:
        return None
    if first.version != last.version or int(last) < int(first):
        return None
    return min(int(last) - int(first) + 1, LARGEST)


def addresses_of(ranges: Iterable[tuple[Any, Any]]) -> int | None:
    """How many IP addresses ranges of first and last hold together, each address once, at most `LARGEST`.

    IPv4 and IPv6 are added up. None when one of them makes no range.
    """
    ends: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
    for start, end in ranges:
        if addresses_between(start, end) is None:
            return None
        first = ipaddress.ip_address(start)
        ends[first.version].append((int(first), int(ipaddress.ip_address(end))))
    return min(sum(map(_covered, ends.values())), LARGEST)


def _covered(ends: list[tuple[int, int]]) -> int:
    """How many whole numbers are in any of the spans."""
    total, beyond = 0, 0
    for first, last in sorted(ends):
        total += max(0, last + 1 - max(first, beyond))
        beyond = max(beyond, last + 1)
    return total


def is_everywhere(start: Any, end: Any) -> bool:  # noqa: ANN401 - cells
    """Whether a range holds every address of its version, give or take the two at the ends."""
    size = addresses_between(start, end)
    return size is not None and size >= (2**32 - 2 if "." in text(start) else LARGEST)


def certificate_end(value: Any) -> datetime | None:  # noqa: ANN401 - a cell
    """When an X.509 certificate in PEM or base64 ends; None when the text is no certificate."""
    body = "".join(_PEM_EDGE.sub("", text(value)).split())
    try:
        return x509.load_der_x509_certificate(base64.b64decode(body, validate=True)).not_valid_after_utc
    except (ValueError, binascii.Error):
        return None
