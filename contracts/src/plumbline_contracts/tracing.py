"""The W3C trace context of what is done: it comes with requests and records, and leaves with records and answers."""

import secrets
from collections.abc import Iterable, Mapping

from opentelemetry import propagate, trace
from opentelemetry.context import Context

from plumbline_contracts import envelope

_FLAGS = trace.TraceFlags(trace.TraceFlags.SAMPLED)


def received(carrier: Mapping[str, str]) -> Context:
    """The context that a `traceparent` names; a new trace where there is none that can be read."""
    if "traceparent" in carrier:
        found = propagate.extract(carrier)
        if trace.get_current_span(found).get_span_context().is_valid:
            return found
    span = trace.SpanContext(secrets.randbits(128) or 1, secrets.randbits(64) or 1, is_remote=True, trace_flags=_FLAGS)
    return trace.set_span_in_context(trace.NonRecordingSpan(span), Context())


def of_record(headers: Iterable[tuple[str, bytes | None]]) -> Context:
    """The context that a record's headers name; a new trace where there is none that can be read."""
    return received(envelope.trace_carrier(headers))


def trace_id() -> str | None:
    """The id of the current trace, 32 hexadecimal digits; None outside of any."""
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x}" if span.is_valid else None


def traceparent() -> str | None:
    """The current trace context as a header."""
    span = trace.get_current_span().get_span_context()
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}" if span.is_valid else None
