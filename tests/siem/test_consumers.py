"""Real consumers read the topic of findings: every event as it was sent, in order, after a stop and a crash too."""

import asyncio
import json
import re
from collections.abc import Callable, Sequence

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from tests.polling import until
from tests.siem.real_consumers import (
    Arrived,
    CollectorToSplunk,
    Consumer,
    Feed,
    Kcat,
    NodeClient,
    RsyslogToFile,
    RsyslogToIndex,
    kafkajs,
    platformatic,
)
from tests.siem.receivers import Mood
from tests.siem.sending import LIMIT_BYTES, SMALLEST_BYTES, Sending, Sent, compact, events, finding, of_size, send

COUNT = 360
PAUSE_SECONDS = 0.02
ARRIVAL_SECONDS = 60


def _uid(value: bytes) -> str:
    return str(json.loads(value)["metadata"]["uid"])


def _wait_for(consumer: Consumer, count: int) -> list[Arrived]:
    """What arrived, once it is so many different events."""
    until(
        lambda: len({_uid(event.value) for event in consumer.arrived()}) >= count,
        within_seconds=ARRIVAL_SECONDS,
        what=f"{count} events arrive",
    )
    return consumer.arrived()


def _first_arrivals(arrived: Sequence[Arrived]) -> list[Arrived]:
    """Each event where it came first."""
    found: dict[str, Arrived] = {}
    for event in arrived:
        found.setdefault(_uid(event.value), event)
    return list(found.values())


def _assert_as_sent(arrived: Sequence[Arrived], sent: Sequence[Sent]) -> None:
    """Every byte of every event, each key in order, nothing besides; what came again is the same again."""
    by_uid = {record.uid: record for record in sent}
    for event in arrived:
        assert event.value == by_uid[_uid(event.value)].value
    first = _first_arrivals(arrived)
    assert len(first) == len(sent)
    for key in {record.key for record in sent}:
        told = [_uid(event.value) for event in first if by_uid[_uid(event.value)].key == key]
        assert told == [record.uid for record in sent if record.key == key]


def test_what_is_sent_has_every_size_and_every_character() -> None:
    sent = events(COUNT)
    sizes = [len(record.value) for record in sent]
    assert (min(sizes), max(sizes)) == (SMALLEST_BYTES, LIMIT_BYTES)
    assert len({record.uid for record in sent}) == COUNT
    assert all(b"\n" not in record.value for record in sent)
    everything = b"".join(record.value for record in sent)
    for text in ("東京", "🙂", "\x7f", "\u2028", r"\u0000", r"\u001b", r"\n", "<script>", r"\"quoted\""):
        assert text.encode() in everything


def test_every_event_arrives_as_it_was_sent(consumer: Consumer, feed: Feed) -> None:
    """Also those from before the consumer first came."""
    sent = events(COUNT)
    send(feed.bootstrap, feed.topic, sent[: COUNT // 2])
    consumer.start()
    send(feed.bootstrap, feed.topic, sent[COUNT // 2 :])
    arrived = _wait_for(consumer, COUNT)
    assert len(arrived) == COUNT
    _assert_as_sent(arrived, sent)
    consumer.stop()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_in_the_middle_misses_nothing(consumer: Consumer, feed: Feed, end: str) -> None:
    sent = events(COUNT)
    consumer.start()
    with Sending(feed.bootstrap, feed.topic, sent, pause_seconds=PAUSE_SECONDS):
        _wait_for(consumer, COUNT // 6)
        getattr(consumer, end)()
        before = len({_uid(event.value) for event in consumer.arrived()})
        assert before < COUNT, "it was not in the middle"
        consumer.start()
    _assert_as_sent(_wait_for(consumer, COUNT), sent)
    consumer.stop()


@pytest.mark.parametrize("make", [Kcat, kafkajs, platformatic])
def test_key_headers_and_time_arrive_too(make: Callable[[Feed], Consumer], feed: Feed, node_packages: object) -> None:
    sent = events(36)
    send(feed.bootstrap, feed.topic, sent)
    consumer = make(feed)
    try:
        consumer.start()
        arrived = {_uid(event.value): event for event in _wait_for(consumer, len(sent))}
    finally:
        consumer.close()
    for record in sent:
        assert arrived[record.uid] == Arrived(record.value, record.key, record.headers, record.time_ms)


def test_splunk_shows_an_event_at_its_own_time_under_the_shipped_names(feed: Feed) -> None:
    sent = events(36)
    send(feed.bootstrap, feed.topic, sent)
    consumer = CollectorToSplunk(feed)
    try:
        consumer.start()
        arrived = _wait_for(consumer, len(sent))
        told = consumer.splunk.events()
    finally:
        consumer.close()
    times = {record.uid: record.time_ms for record in sent}
    assert {_uid(event.value): event.time_ms for event in arrived} == times
    names = {(event["index"], event["source"], event["sourcetype"]) for event in told}
    assert names == {("saas_posture", "plumbline", "plumbline:finding")}


def test_an_event_that_comes_again_stands_in_the_index_once(feed: Feed) -> None:
    sent = events(36)
    consumer = RsyslogToIndex(feed)
    try:
        consumer.start()
        send(feed.bootstrap, feed.topic, [*sent, *sent])
        until(lambda: consumer.index.conflicts == len(sent), within_seconds=ARRIVAL_SECONDS, what="events come again")
        assert consumer.index.ids() == [_uid(event.value) for event in consumer.arrived()]
        _assert_as_sent(consumer.arrived(), sent)
        refused = (feed.home / "refused.json").read_text()
        assert set(re.findall(r'"status": ?(\d+)', refused)) <= {"201", "409"}, "the answers to whole batches"
    finally:
        consumer.close()


@pytest.mark.parametrize("end", ["stop", "kill"])
@pytest.mark.parametrize(
    ("make", "mood"),
    [(RsyslogToIndex, Mood.AWAY), (CollectorToSplunk, Mood.AWAY), (CollectorToSplunk, Mood.BUSY)],
)
def test_while_the_siem_is_away_events_wait(
    make: type[RsyslogToIndex] | type[CollectorToSplunk], mood: Mood, end: str, feed: Feed
) -> None:
    """Also when the consumer ends meanwhile."""
    sent = events(72)
    consumer = make(feed)
    siem = consumer.index if isinstance(consumer, RsyslogToIndex) else consumer.splunk
    try:
        siem.mood = mood
        consumer.start()
        send(feed.bootstrap, feed.topic, sent)
        until(lambda: siem.turned_away >= 4, within_seconds=ARRIVAL_SECONDS, what="the SIEM turns events away")
        assert consumer.arrived() == []
        getattr(consumer, end)()
        siem.mood = Mood.WELL
        consumer.start()
        _assert_as_sent(_wait_for(consumer, len(sent)), sent)
    finally:
        consumer.close()


def test_the_collectors_default_queue_would_lose_events(feed: Feed) -> None:
    """Why the shipped file turns it off."""
    sent = events(108)
    consumer = CollectorToSplunk(feed, has_queue=True)
    try:
        consumer.splunk.mood = Mood.AWAY
        consumer.start()
        send(feed.bootstrap, feed.topic, sent[:72])
        until(lambda: _committed(feed) == 72, within_seconds=ARRIVAL_SECONDS, what="Kafka is told that all were read")
        consumer.kill()
        consumer.splunk.mood = Mood.WELL
        consumer.start()
        send(feed.bootstrap, feed.topic, sent[72:])
        arrived = {_uid(event.value) for event in _wait_for(consumer, 36)}
    finally:
        consumer.close()
    assert arrived == {record.uid for record in sent[72:]}


def _committed(feed: Feed) -> int:
    """How many records the group has told Kafka to have read."""

    async def ask() -> int:
        admin = AIOKafkaAdminClient(bootstrap_servers=feed.bootstrap)
        await admin.start()
        try:
            return sum(found.offset for found in (await admin.list_consumer_group_offsets(feed.group)).values())
        finally:
            await admin.close()

    return asyncio.run(ask())


def test_what_a_busy_index_refuses_stands_in_a_file_and_comes_with_the_next_start(feed: Feed) -> None:
    """rsyslog does not try again what an index has answered, and says so."""
    sent = events(36)
    consumer = RsyslogToIndex(feed)
    refused = feed.home / "refused.json"
    try:
        consumer.index.mood = Mood.BUSY
        consumer.start()
        send(feed.bootstrap, feed.topic, sent)
        until(
            lambda: refused.exists() and all(record.uid in refused.read_text() for record in sent),
            within_seconds=ARRIVAL_SECONDS,
            what="every event stands in the file",
        )
        consumer.index.mood = Mood.WELL
        consumer.stop()
        consumer.start()
        _assert_as_sent(_wait_for(consumer, len(sent)), sent)
    finally:
        consumer.close()


def test_rsyslogs_default_size_holds_every_event_and_cuts_what_is_larger(feed: Feed) -> None:
    """8,000 bytes are the limit because rsyslog cuts at 8,096 unless `maxMessageSize` says otherwise."""
    largest = events(COUNT)[-1]
    event = finding(tenant="contoso", instance="sales-eu", control="SF-ID-99", sequence=1, time_ms=largest.time_ms)
    full = Sent(b"contoso|sales-eu|SF-ID-99", of_size(event, LIMIT_BYTES), largest.headers, largest.time_ms)
    larger = Sent(full.key, compact({**json.loads(full.value), "message": "x" * 200}), full.headers, full.time_ms)
    send(feed.bootstrap, feed.topic, [full, larger])
    consumer = RsyslogToFile(feed)
    try:
        consumer.start()
        until(lambda: len(consumer.arrived()) >= 2, within_seconds=ARRIVAL_SECONDS, what="both lines are there")
        whole, cut = (line.value for line in consumer.arrived()[:2])
    finally:
        consumer.close()
    assert len(full.value) == LIMIT_BYTES
    assert whole == full.value
    assert cut != larger.value
    assert cut[:8096] == larger.value[:8096]


def test_a_file_that_is_rotated_misses_nothing(feed: Feed) -> None:
    sent = events(72)
    consumer = RsyslogToFile(feed)
    file, rotated = feed.home / "findings.ndjson", feed.home / "findings.ndjson.1"
    try:
        consumer.start()
        with Sending(feed.bootstrap, feed.topic, sent, pause_seconds=PAUSE_SECONDS):
            _wait_for(consumer, 8)
            file.rename(rotated)
            consumer.program.hang_up()
            until(file.exists, within_seconds=ARRIVAL_SECONDS, what="rsyslog opens the file anew")
        before = [Arrived(line) for line in rotated.read_bytes().splitlines()]
        _wait_for(consumer, len(sent) - len(before))
        _assert_as_sent([*before, *consumer.arrived()], sent)
    finally:
        consumer.close()


def test_kafkajs_needs_a_codec(feed: Feed, node_packages: object) -> None:
    """This also proves that what the others read is lz4."""
    send(feed.bootstrap, feed.topic, events(1))
    consumer = NodeClient("kafkajs-without-codec", feed)
    try:
        consumer.start()
        until(
            lambda: "LZ4 compression not implemented" in consumer.program.log(),
            within_seconds=ARRIVAL_SECONDS,
            what="kafkajs says why",
        )
        assert (feed.home / "out.1").read_bytes() == b""
    finally:
        consumer.close()
