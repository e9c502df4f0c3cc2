"""Records as they stand on a topic: JSON value, CloudEvents attributes as headers (binary mode), trace context.

Source: CloudEvents 1.0.2 Kafka protocol binding, binary content mode; W3C Trace Context.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from opentelemetry import propagate
from pydantic import ValidationError

from plumbline_contracts import ids
from plumbline_contracts.events import EVENT_TYPES, Event

Headers = list[tuple[str, bytes]]
EventT = TypeVar("EventT", bound=Event)

_TYPE_OF = {model: name for name, model in EVENT_TYPES.items()}
FUTURE_TOLERANCE = timedelta(minutes=5)


class BadRecordError(ValueError):
    """A record that no retry will mend: not JSON, of another type, or against its schema. It belongs in the DLQ."""


def event_type(model: type[Event]) -> str:
    """The CloudEvents `type` of a model."""
    return _TYPE_OF[model]


def encode(event: Event) -> bytes:
    """The record value: compact JSON, empty optional fields left out."""
    return event.model_dump_json(exclude_none=True).encode()


def headers(event: Event, *, source: str, event_id: str | None = None) -> Headers:
    """CloudEvents attributes for `event`, with the current trace context.

    `source` is the producing service as a URI path, such as `/collector/collector-0`.
    """
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": event_id or ids.random_id(),
        "ce_source": source,
        "ce_type": event_type(type(event)),
        "ce_time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "content-type": "application/json",
    }
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return [(name, value.encode()) for name, value in {**attributes, **carrier}.items()]


def trace_carrier(record_headers: Iterable[tuple[str, bytes | None]]) -> Mapping[str, str]:
    """`traceparent` and `tracestate` of a record, for `opentelemetry.propagate.extract`."""
    wanted = {"traceparent", "tracestate"}
    return {name: value.decode("ascii", "replace") for name, value in record_headers if value and name in wanted}


def decode(model: type[EventT], value: bytes | None, record_headers: Iterable[tuple[str, bytes | None]] = ()) -> EventT:
    """The event in a record. Fields that `model` does not know are ignored.

    Raises BadRecordError when the value is no JSON object, names another type in `ce_type`, or violates the schema.
    """
    if not value:
        raise BadRecordError(f"expected {event_type(model)}, got an empty value")
    stated = dict(record_headers).get("ce_type")
    if stated is not None and stated.decode("ascii", "replace") != event_type(model):
        raise BadRecordError(f"expected {event_type(model)}, the record says {stated.decode('ascii', 'replace')!r}")
    try:
        return model.model_validate_json(value, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "value"
        raise BadRecordError(f"{event_type(model)}: {place}: {first['msg']}") from error


def refuse_future(moment: datetime, *, now: datetime, what: str) -> None:
    """Raise BadRecordError when `moment` lies more than five minutes ahead of `now`."""
    if moment > now + FUTURE_TOLERANCE:
        raise BadRecordError(
            f"{what} lies in the future: {moment.isoformat()} (now {now.isoformat()}); check the clocks"
        )


def dead_letter_headers(topic: str, partition: int, offset: int, error: BaseException) -> Headers:
    """Headers of a record that goes to `<topic>.dlq` with its original bytes."""
    return [
        ("plumbline_topic", topic.encode()),
        ("plumbline_partition", str(partition).encode()),
        ("plumbline_offset", str(offset).encode()),
        ("plumbline_error", type(error).__name__.encode()),
        ("plumbline_message", str(error)[:2000].encode()),
        ("plumbline_failed_at", datetime.now(UTC).isoformat(timespec="milliseconds").encode()),
    ]
