"""The trace context of requests and records."""

import re

import pytest
from opentelemetry import context
from plumbline_contracts import tracing

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def _within(carrier: dict[str, str]) -> tuple[str | None, str | None]:
    token = context.attach(tracing.received(carrier))
    try:
        return tracing.trace_id(), tracing.traceparent()
    finally:
        context.detach(token)


def test_a_trace_is_taken_over() -> None:
    sent = f"00-{TRACE}-{SPAN}-01"
    assert _within({"traceparent": sent}) == (TRACE, sent)


@pytest.mark.parametrize(
    "sent",
    ["", "x", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{SPAN}-01", "00-" + "g" * 49],
)
def test_one_that_cannot_be_read_is_a_new_trace(sent: str) -> None:
    found = [_within({"traceparent": sent}) for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{32}", trace or "") for trace, _ in found)
    assert len({trace for trace, _ in found} | {TRACE}) == 3


def test_a_record_without_a_trace_begins_one_and_one_with_it_goes_on() -> None:
    for headers, wanted in (([("traceparent", f"00-{TRACE}-{SPAN}-01".encode())], True), ([("x", b"y")], False)):
        token = context.attach(tracing.of_record(headers))
        assert (tracing.trace_id() == TRACE) is wanted
        context.detach(token)


def test_outside_of_any_there_is_none() -> None:
    assert tracing.trace_id() is None
    assert tracing.traceparent() is None
