"""What a consumer of `compliance-findings` must be able to do, whatever it is written in: one test class for all."""

import asyncio
import json
import os
import re
import resource
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from plumbline_contracts.asyncapi import example_headers
from plumbline_contracts.examples import Example, examples
from plumbline_contracts.finding import FINDING_EVENT
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.provisioning import create_topics
from plumbline_contracts.topics import registry

from tests.polling import until
from tests.secured_kafka import USER, SecuredKafka, secured_kafka

TOPIC = registry()["compliance-findings"]
GROUP = "example"
COUNT = 120
ARRIVAL_SECONDS = 60
END_SECONDS = 60
KEYS = [f"contoso|{instance}|SF-ID-{number:02}" for instance in ("sales-eu", "sales-us") for number in range(1, 7)]


@dataclass(frozen=True)
class Record:
    """One record as the product sends it."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    time_ms: int


def findings(count: int) -> list[Record]:
    """Events of twelve findings in turn, made of the examples, with fields and values of a later version in them."""
    known = examples(FINDING_EVENT)
    return [_record(known[number % len(known)], KEYS[number % len(KEYS)], number) for number in range(count)]


def _record(example: Example, key: str, number: int) -> Record:
    event = json.loads(json.dumps(example.value))
    event["metadata"] |= {"uid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{key} {number}")), "sequence": number}
    event["finding_info"] |= {"uid": key, "added_later": [{"a": 1}]}
    event["unmapped"] |= {"transition": "of_a_later_version", "added_later": {"b": None}}
    event |= {"message": f"東京 🙂 \u2028 {number}", "added_later": number * 1.5}
    value = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    told = Example(example.event_type, example.name, example.path, event)
    headers = tuple((name, text.encode()) for name, text in example_headers(TOPIC, told).items())
    return Record(key.encode(), value, headers, event["time"])


async def _send(settings: KafkaSettings, records: Sequence[Record]) -> None:
    producer = AIOKafkaProducer(
        **settings.client_options(), compression_type=TOPIC.compression, enable_idempotence=True, linger_ms=5
    )
    async with producer:
        for record in records:
            await producer.send(
                settings.topic(TOPIC.name),
                record.value,
                key=record.key,
                timestamp_ms=record.time_ms,
                headers=list(record.headers),
            )


def send(settings: KafkaSettings, records: Sequence[Record]) -> None:
    """Send in order; acknowledged when this returns."""
    asyncio.run(_send(settings, records))


async def _committed(settings: KafkaSettings) -> int:
    admin = AIOKafkaAdminClient(**settings.client_options())
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(settings.group(GROUP))
    finally:
        await admin.close()
    return sum(max(0, stated.offset) for stated in offsets.values())


def committed(settings: KafkaSettings) -> int:
    """How many records the group has committed, all partitions together."""
    return asyncio.run(_committed(settings))


async def _end(settings: KafkaSettings) -> int:
    consumer = AIOKafkaConsumer(**settings.client_options())
    async with consumer:
        partitions = [TopicPartition(settings.topic(TOPIC.name), number) for number in range(TOPIC.partitions)]
        return sum((await consumer.end_offsets(partitions)).values())


class Program:
    """One consumer, started as often as a test likes, with one file and one log."""

    def __init__(
        self, command: Sequence[str | Path], settings: KafkaSettings, home: Path, **variables: str | Path
    ) -> None:
        self._command = list(map(str, command))
        self._home = home
        self.file = home / "findings.ndjson"
        self._process: subprocess.Popen[bytes] | None = None
        self._variables = {
            "KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
            "KAFKA_TOPIC": settings.topic(TOPIC.name),
            "KAFKA_GROUP": settings.group(GROUP),
            "FINDINGS_FILE": str(self.file),
            **{name: str(value) for name, value in variables.items()},
        }

    def start(self, most_bytes: int | None = None) -> None:
        """Start it; with `most_bytes` no file of its may grow larger: a disk that is full."""
        with (self._home / "log").open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **self._variables},
                cwd=self._home,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_limit(most_bytes) if most_bytes else None,
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal; its status once it has ended."""
        assert self._process is not None
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)
        return self.status()

    def status(self) -> int:
        """Its status once it has ended by itself."""
        assert self._process is not None
        return self._process.wait(END_SECONDS)

    @property
    def log(self) -> str:
        """What it said so far."""
        return (self._home / "log").read_text()

    def lines(self) -> list[bytes]:
        """Whole lines of its file. AssertionError when it has failed."""
        assert self._process is not None
        assert self._process.poll() in (None, 0, -signal.SIGKILL), self.log
        return self.whole_lines()

    def whole_lines(self) -> list[bytes]:
        """The same, whatever became of it."""
        return self.file.read_bytes().split(b"\n")[:-1] if self.file.exists() else []

    def wait_for(self, count: int) -> list[bytes]:
        """The lines, once there are so many."""
        until(lambda: len(self.lines()) >= count, within_seconds=ARRIVAL_SECONDS, what=f"{count} events in the file")
        return self.lines()

    def close(self) -> None:
        """Leave nothing behind."""
        if self._process is not None:
            self.end(signal.SIGKILL)


def _limit(most_bytes: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


def _assert_each_once_in_order(lines: Sequence[bytes], sent: Sequence[Record]) -> None:
    """Every byte of every event, once, and each key in order."""
    assert sorted(lines) == sorted(record.value for record in sent)
    uids = [json.loads(line)["finding_info"]["uid"].encode() for line in lines]
    for key in {record.key for record in sent}:
        told = [line for line, uid in zip(lines, uids, strict=True) if uid == key]
        assert told == [record.value for record in sent if record.key == key]


class ConsumerContract:
    """A test class of an example inherits this and has a fixture `command`."""

    @pytest.fixture
    def program(self, command: list[str | Path], kafka_settings: KafkaSettings, tmp_path: Path) -> Iterator[Program]:
        """The example, not yet started."""
        made = Program(command, kafka_settings, tmp_path)
        yield made
        made.close()

    def test_every_event_is_kept_as_it_was_sent(self, program: Program, kafka_settings: KafkaSettings) -> None:
        """Also those from before it first came."""
        sent = findings(COUNT)
        send(kafka_settings, sent[: COUNT // 2])
        program.start()
        send(kafka_settings, sent[COUNT // 2 :])
        _assert_each_once_in_order(program.wait_for(COUNT), sent)
        assert program.end() == 0, program.log
        assert committed(kafka_settings) == COUNT

    def test_what_comes_again_is_kept_once(self, program: Program, kafka_settings: KafkaSettings) -> None:
        sent = findings(COUNT)
        send(kafka_settings, [*sent, *sent])
        program.start()
        until(lambda: committed(kafka_settings) == 2 * COUNT, within_seconds=ARRIVAL_SECONDS, what="all is committed")
        _assert_each_once_in_order(program.lines(), sent)
        assert program.end() == 0, program.log

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stop", "kill"])
    def test_after_a_restart_it_goes_on(
        self, program: Program, kafka_settings: KafkaSettings, number: signal.Signals
    ) -> None:
        sent = findings(COUNT)
        program.start()
        send(kafka_settings, sent[: COUNT // 2])
        program.wait_for(COUNT // 3)
        assert program.end(number) == (0 if number is signal.SIGTERM else -number), program.log
        send(kafka_settings, sent[COUNT // 2 :])
        program.start()
        _assert_each_once_in_order(program.wait_for(COUNT), sent)
        assert program.end() == 0, program.log

    def test_what_it_could_not_keep_is_not_committed(self, program: Program, kafka_settings: KafkaSettings) -> None:
        """The disk is full in the middle of an event; with room again, everything is there, once."""
        sent = findings(COUNT)
        send(kafka_settings, sent)
        room_bytes = sum(len(record.value) + 1 for record in sent) // 2
        program.start(most_bytes=room_bytes)
        assert program.status() != 0
        kept = len(program.whole_lines())
        assert 0 < kept < COUNT
        assert committed(kafka_settings) <= kept
        program.start()
        _assert_each_once_in_order(program.wait_for(COUNT), sent)
        assert program.end() == 0, program.log

    @pytest.mark.parametrize("value", [b"no finding", b'{"class_uid":2003}', None], ids=["text", "other", "null"])
    def test_a_record_that_is_no_finding_stops_it(
        self, program: Program, kafka_settings: KafkaSettings, value: Any
    ) -> None:
        """The contract has none; passing over it would lose something unnoticed."""
        good = findings(1)[0]
        send(kafka_settings, [good, Record(good.key, value, good.headers, good.time_ms), good])
        program.start()
        assert program.status() != 0
        assert "offset 1" in program.log
        assert committed(kafka_settings) <= 1
        assert asyncio.run(_end(kafka_settings)) == 3

    def test_it_logs_in_over_tls(self, command: list[str | Path], tmp_path: Path) -> None:
        """With a wrong password, or a certificate that it cannot check, it reads nothing and says why."""
        sent = findings(24)
        with secured_kafka(tmp_path / "kafka") as broker:
            settings = KafkaSettings(kafka_bootstrap=broker.bootstrap)
            asyncio.run(create_topics(settings, replication_factor=1))
            send(settings, sent)
            wrong = tmp_path / "wrong"
            wrong.write_text("not-the-password")
            _assert_refused(_login(command, settings, broker, tmp_path / "a", KAFKA_PASSWORD_FILE=wrong))
            _assert_refused(_login(command, settings, broker, tmp_path / "b", KAFKA_CA_FILE=""))
            program = _login(command, settings, broker, tmp_path / "c")
            try:
                program.start()
                _assert_each_once_in_order(program.wait_for(len(sent)), sent)
                assert program.end() == 0, program.log
            finally:
                program.close()


def _login(
    command: Sequence[str | Path], settings: KafkaSettings, broker: SecuredKafka, home: Path, **variables: str | Path
) -> Program:
    home.mkdir()
    login: dict[str, str | Path] = {
        "KAFKA_BOOTSTRAP": broker.login_bootstrap,
        "KAFKA_USER": USER,
        "KAFKA_PASSWORD_FILE": broker.password_file,
        "KAFKA_CA_FILE": broker.certificate_file,
    }
    return Program(command, settings, home, **{**login, **variables})


def _assert_refused(program: Program) -> None:
    try:
        program.start()
        assert program.status() != 0
        assert program.whole_lines() == []
        assert re.search("authent|certificate|sasl", program.log, re.IGNORECASE), program.log
        assert "not-the-password" not in program.log
    finally:
        program.close()
