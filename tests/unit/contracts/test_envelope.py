"""Records: what is written can be read, what cannot be read is a bad record with a reason."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from plumbline_contracts import envelope, ids
from plumbline_contracts.events import CollectionRequest, DatasetChunk, RequestReason

REQUEST = CollectionRequest(
    request_id="r1",
    tenant="contoso",
    instance="sales-eu",
    reason=RequestReason.USER,
    requested_by="portal",
    requested_at=datetime(2026, 11, 24, 9, tzinfo=UTC),
)


def test_times_are_utc_on_the_wire() -> None:
    local = REQUEST.model_copy(update={"requested_at": datetime.fromisoformat("2026-11-24T10:00:00+01:00")})
    assert b'"requested_at":"2026-11-24T09:00:00.000Z"' in envelope.encode(
        CollectionRequest.model_validate(dict(local))
    )


def test_headers_carry_cloud_events_and_trace_context() -> None:
    context = SpanContext(trace_id=0xA, span_id=0xB, is_remote=False, trace_flags=TraceFlags(1))
    with trace.use_span(NonRecordingSpan(context)):
        headers = dict(envelope.headers(REQUEST, source="/collector/collector-0", event_id="e1"))
    assert headers["ce_type"] == b"io.plumbline.collection-request.v1"
    assert headers["ce_id"] == b"e1"
    assert headers["ce_specversion"] == b"1.0"
    assert envelope.trace_carrier(headers.items())["traceparent"].split("-")[1].endswith("a")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty value"),
        (b"", "empty value"),
        (b"{", "JSON"),
        (b"[]", "collection-request"),
        (b"\xff\xfe", "collection-request"),
        (b'{"tenant":"../etc"}', "collection-request"),
    ],
)
def test_an_unreadable_value_is_a_bad_record(value: bytes | None, reason: str) -> None:
    with pytest.raises(envelope.BadRecordError, match=reason):
        envelope.decode(CollectionRequest, value)


def test_a_record_of_another_type_is_a_bad_record() -> None:
    with pytest.raises(envelope.BadRecordError, match="dataset-chunk"):
        envelope.decode(CollectionRequest, envelope.encode(REQUEST), [("ce_type", b"io.plumbline.dataset-chunk.v1")])


@given(st.text(min_size=1, max_size=80))
def test_only_plain_ids_are_accepted(text: str) -> None:
    plain = len(text) <= 64 and all(c.isascii() and (c.isalnum() or c in "._-") for c in text)
    body = REQUEST.model_dump(mode="json") | {"tenant": text}
    if plain:
        assert CollectionRequest.model_validate(body).tenant == text
    else:
        with pytest.raises(ValueError, match="tenant"):
            CollectionRequest.model_validate(body)


def test_nulls_inside_rows_survive() -> None:
    chunk = DatasetChunk(
        tenant="t",
        instance="i",
        product="salesforce",
        snapshot_id="s",
        publication_id="p",
        dataset="users",
        sequence=0,
        rows=[{"id": "1", "idle_days": None}],
    )
    assert envelope.decode(DatasetChunk, envelope.encode(chunk)) == chunk


def test_the_future_is_refused_beyond_five_minutes() -> None:
    now = datetime(2026, 11, 24, 9, tzinfo=UTC)
    envelope.refuse_future(now + timedelta(minutes=5), now=now, what="started_at")
    with pytest.raises(envelope.BadRecordError, match="check the clocks"):
        envelope.refuse_future(now + timedelta(minutes=5, seconds=1), now=now, what="started_at")


@given(st.lists(st.binary(max_size=20), min_size=2, max_size=6))
def test_a_chunk_digest_knows_order_and_boundaries(values: list[bytes]) -> None:
    def digest(chunks: list[bytes]) -> str:
        result = ids.ChunkDigest()
        for chunk in chunks:
            result.add(chunk)
        return result.hex()

    assert digest(values) == digest(list(values))
    assert digest([values[0] + values[1], *values[2:]]) != digest(values)
    if values != values[::-1]:
        assert digest(values[::-1]) != digest(values)


@given(st.lists(st.text(), unique=True), st.randoms())
def test_an_entity_digest_ignores_order(entities: list[str], random: object) -> None:
    shuffled = sorted(entities, key=lambda _: random.random())  # type: ignore[attr-defined]
    first, second = ids.EntityDigest(), ids.EntityDigest()
    for entity in entities:
        first.add(entity)
    for entity in shuffled:
        second.add(entity)
    assert (first.hex(), first.count) == (second.hex(), second.count)
