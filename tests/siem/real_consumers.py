"""The real consumers, each with the configuration that is shipped, as far as there is one."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from tests.siem import tools
from tests.siem.programs import Program
from tests.siem.receivers import EventCollector, Index

SESSION_SECONDS = 6
"""For how long a group waits for a member that was killed; the broker's shortest."""

COMMIT_MS = 200
"""How often rsyslog commits here. The default of five seconds would hide what a kill loses."""

SECRETS = {"KAFKA_PASSWORD": "kafka-of-a-test", "INDEX_PASSWORD": "index-of-a-test", "SPLUNK_HEC_TOKEN": "of-a-test"}
SHIPPED_TOPIC = "plumbline.compliance-findings"


@dataclass(frozen=True)
class Feed:
    """Where a consumer reads, and a folder of its own."""

    bootstrap: str
    topic: str
    group: str
    home: Path


@dataclass(frozen=True)
class Arrived:
    """An event as it arrived. What a consumer does not pass on of the record is None."""

    value: bytes
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] | None = None
    time_ms: int | None = None


class Consumer(Protocol):
    """A consumer that can be started again after a stop or a kill, and goes on then."""

    def start(self) -> None:
        """Begin to read, or go on."""

    def stop(self) -> None:
        """End it in an orderly way."""

    def kill(self) -> None:
        """End it at once."""

    def arrived(self) -> list[Arrived]:
        """What it handed on so far, in order. AssertionError when it has ended by itself."""

    def close(self) -> None:
        """Leave nothing behind."""


MakeConsumer = Callable[[Feed], Consumer]


class _OneProgram:
    """What all consumers share: they are one process."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def start(self) -> None:
        self.program.start()

    def stop(self) -> None:
        self.program.stop()

    def kill(self) -> None:
        self.program.kill()

    def close(self) -> None:
        self.program.end()


def _whole_lines(output: bytes) -> list[bytes]:
    """The lines of a process; the last one may be cut by a kill."""
    return output.split(b"\n")[:-1]


class Kcat(_OneProgram):
    """kcat with its JSON envelope, from the beginning at each start.

    Not in a group: at SIGTERM it commits the event that it holds without having written it.
    """

    def __init__(self, feed: Feed) -> None:
        command = [tools.kcat(), "-C", "-b", feed.bootstrap, "-t", feed.topic, "-o", "beginning", "-u", "-J"]
        super().__init__(Program(command, feed.home))

    def arrived(self) -> list[Arrived]:
        return [self._record(line) for output in self.program.outputs() for line in _whole_lines(output)]

    @staticmethod
    def _record(line: bytes) -> Arrived:
        record = json.loads(line)
        names = record["headers"]
        headers = tuple((name, value.encode()) for name, value in zip(names[::2], names[1::2], strict=True))
        return Arrived(record["payload"].encode(), record["key"].encode(), headers, record["ts"])


class NodeClient(_OneProgram):
    """A client library of Node's: `kafkajs` with a codec for lz4, or `platformatic`."""

    def __init__(self, client: str, feed: Feed) -> None:
        script = Path(tools.made(tools.NODE_PACKAGES)) / "consume.mjs"
        command: list[str | Path] = [tools.made(tools.NODE), script, client, feed.bootstrap, feed.topic, feed.group]
        super().__init__(Program(command, feed.home))

    def arrived(self) -> list[Arrived]:
        return [self._record(line) for output in self.program.outputs() for line in _whole_lines(output)]

    @staticmethod
    def _record(line: bytes) -> Arrived:
        record = json.loads(line)
        headers = tuple((name, value.encode()) for name, value in record["headers"])
        return Arrived(base64.b64decode(record["value"]), record["key"].encode(), headers, record["time"])


def plain_rsyslog(name: str, feed: Feed, replaced: dict[str, str]) -> Path:
    """A shipped configuration of rsyslog, without TLS and on this feed; `replaced` are further texts of it."""
    text = (tools.SHIPPED / "rsyslog" / name).read_text()
    often = f'"session.timeout.ms={SESSION_SECONDS * 1000}", "auto.commit.interval.ms={COMMIT_MS}", '
    everything = {
        SHIPPED_TOPIC: feed.topic,
        "kafka.example.com:9093": feed.bootstrap,
        "siem.rsyslog-file": feed.group,
        "siem.rsyslog-index": feed.group,
        "security.protocol=SASL_SSL": "security.protocol=PLAINTEXT",
        "/var/spool/rsyslog-plumbline": str(feed.home),
        '"auto.offset.reset=earliest"': f'{often}"auto.offset.reset=earliest"',
        **replaced,
    }
    for old, new in everything.items():
        assert old in text or old.startswith("siem."), f"{name} has no {old}"
        text = text.replace(old, new)
    path = feed.home / name
    path.write_text(text)
    return path


def _rsyslogd(configuration: Path, home: Path) -> Program:
    command: list[str | Path] = [tools.rsyslogd(), "-n", "-f", configuration, "-i", home / "rsyslogd.pid"]
    return Program(command, home, SECRETS)


class RsyslogToFile(_OneProgram):
    """rsyslog with imkafka, into a file."""

    def __init__(self, feed: Feed) -> None:
        self._file = feed.home / "findings.ndjson"
        configuration = plain_rsyslog("to-file.conf", feed, {"/var/log/plumbline/findings.ndjson": str(self._file)})
        super().__init__(_rsyslogd(configuration, feed.home))

    def arrived(self) -> list[Arrived]:
        self.program.outputs()
        return [Arrived(line) for line in _whole_lines(self._file.read_bytes())] if self._file.exists() else []


class RsyslogToIndex(_OneProgram):
    """rsyslog with imkafka, into the bulk API of an index."""

    def __init__(self, feed: Feed) -> None:
        self.index = Index()
        replaced = {
            "https://index.example.com:9200": f"http://{self.index.address}",
            '        tls.cacert="/etc/plumbline/index-ca.pem"\n': "",
            "/var/log/plumbline/refused.json": str(feed.home / "refused.json"),
            'resumeInterval="5"': 'resumeInterval="1"',
        }
        super().__init__(_rsyslogd(plain_rsyslog("to-elasticsearch.conf", feed, replaced), feed.home))

    def arrived(self) -> list[Arrived]:
        self.program.outputs()
        return [Arrived(document) for document in self.index.documents()]

    def close(self) -> None:
        super().close()
        self.index.close()


def plain_collector(feed: Feed, endpoint: str) -> dict[str, Any]:
    """The shipped configuration of the OpenTelemetry Collector, without TLS, on this feed and for this endpoint."""
    text = (tools.SHIPPED / "otel-collector" / "splunk.yaml").read_text()
    assert SHIPPED_TOPIC in text
    configuration: dict[str, Any] = yaml.safe_load(text.replace(SHIPPED_TOPIC, feed.topic))
    kafka, splunk = configuration["receivers"]["kafka"], configuration["exporters"]["splunk_hec"]
    del kafka["tls"], kafka["auth"], splunk["tls"]
    kafka |= {"brokers": [feed.bootstrap], "group_id": feed.group, "session_timeout": f"{SESSION_SECONDS}s"}
    splunk["endpoint"] = endpoint
    configuration["service"]["telemetry"] = {"metrics": {"level": "none"}}
    return configuration


class CollectorToSplunk(_OneProgram):
    """The OpenTelemetry Collector, to an HTTP Event Collector; `has_queue`: with the queue that it has by default."""

    def __init__(self, feed: Feed, *, has_queue: bool = False) -> None:
        self.splunk = EventCollector()
        configuration = plain_collector(feed, f"http://{self.splunk.address}/services/collector")
        if has_queue:
            del configuration["exporters"]["splunk_hec"]["sending_queue"]
        path = feed.home / "splunk.yaml"
        path.write_text(yaml.safe_dump(configuration))
        super().__init__(Program([tools.made(tools.COLLECTOR), "--config", path], feed.home, SECRETS))

    def arrived(self) -> list[Arrived]:
        self.program.outputs()
        return [
            Arrived(event["event"].encode(), time_ms=round(float(event["time"]) * 1000))
            for event in self.splunk.events()
        ]

    def close(self) -> None:
        super().close()
        self.splunk.close()


def kafkajs(feed: Feed) -> Consumer:
    """The library that most of Node uses."""
    return NodeClient("kafkajs", feed)


def platformatic(feed: Feed) -> Consumer:
    """A library of Node's that knows lz4 by itself."""
    return NodeClient("platformatic", feed)


CONSUMERS: dict[str, MakeConsumer] = {
    "kcat": Kcat,
    "rsyslog-to-file": RsyslogToFile,
    "rsyslog-to-index": RsyslogToIndex,
    "otel-collector-to-splunk": CollectorToSplunk,
    "kafkajs": kafkajs,
    "platformatic": platformatic,
}
