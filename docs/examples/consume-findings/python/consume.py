"""Keeps Plumbline's findings in a file, each event once, and commits what the file holds.

Settings are environment variables, see docs/how-to/consume-findings.md. SIGTERM and Ctrl-C end it after the batch.
"""

import asyncio
import json
import logging
import os
import signal
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

REMEMBERED = 100_000
"""Event ids that are kept to tell a duplicate. One comes soon after the first, or when offsets are set back."""

log = logging.getLogger("consume")


class BadRecordError(ValueError):
    """A record that is no finding. The contract has none: stop, look at it, and do not pass over it."""


@dataclass(frozen=True)
class Finding:
    """What this program uses of an event. All else may be there or not, and may grow."""

    event_uid: str
    finding_uid: str
    activity: str
    severity: str
    message: str

    @classmethod
    def read(cls, value: bytes | None) -> Self:
        """Raises BadRecordError when something that is promised is missing."""
        try:
            event = json.loads(value or b"")
            return cls(
                event_uid=str(event["metadata"]["uid"]),
                finding_uid=str(event["finding_info"]["uid"]),
                activity=str(event["activity_name"]),
                severity=str(event["severity"]),
                message=str(event["message"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise BadRecordError(f"not a finding: {error!r}") from error


class Findings:
    """A file with one event per line, as it came. What stands in it is remembered at the next start."""

    def __init__(self, path: Path) -> None:
        self._seen: dict[str, None] = {}
        path.touch(mode=0o600)
        self._file = path.open("a+b")
        self._file.seek(0)
        end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                log.warning("the last line of %s was not written to its end; it is cut off and comes again", path)
                break
            self._remember(Finding.read(line).event_uid)
            end += len(line)
        self._file.truncate(end)

    def add(self, finding: Finding, value: bytes) -> bool:
        """Whether it was new."""
        if finding.event_uid in self._seen:
            return False
        self._file.write(value + b"\n")
        self._remember(finding.event_uid)
        return True

    def sync(self) -> None:
        """Returns once all is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def _remember(self, uid: str) -> None:
        self._seen[uid] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]


def setting(name: str, otherwise: str | None = None) -> str:
    """A variable of the environment; the end, with a message, when it must be set and is not."""
    value = os.environ.get(name) or otherwise
    if value is None:
        sys.exit(f"{name} is not set")
    return value


def kafka_options() -> dict[str, Any]:
    """Where the broker is; TLS and SCRAM when a user is named."""
    options: dict[str, Any] = {"bootstrap_servers": setting("KAFKA_BOOTSTRAP")}
    if user := os.environ.get("KAFKA_USER"):
        options |= {
            "security_protocol": "SASL_SSL",
            "ssl_context": ssl.create_default_context(cafile=os.environ.get("KAFKA_CA_FILE") or None),
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": user,
            "sasl_plain_password": Path(setting("KAFKA_PASSWORD_FILE")).read_text().strip(),
        }
    return options


async def consume(consumer: AIOKafkaConsumer, findings: Findings, stopping: asyncio.Event) -> None:
    """Batch by batch: handle, make it durable, then commit. Within a partition, and so within a key, order holds."""
    while not stopping.is_set():
        batch = await consumer.getmany(timeout_ms=500, max_records=500)
        for records in batch.values():
            for record in records:
                handle(record, findings)
        if batch:
            findings.sync()
            await commit(consumer, {partition: records[-1].offset + 1 for partition, records in batch.items()})


def handle(record: Any, findings: Findings) -> None:  # noqa: ANN401 - aiokafka has no types
    """What you do with an event stands here. It may be called again for one whose commit was lost."""
    try:
        finding = Finding.read(record.value)
    except BadRecordError as error:
        raise BadRecordError(f"partition {record.partition}, offset {record.offset}: {error}") from error
    if findings.add(finding, record.value):
        log.info("%s %s %s: %s", finding.activity, finding.severity, finding.finding_uid, finding.message)


async def commit(consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
    """After a rebalance another member reads what could not be committed; it comes again, which does no harm."""
    try:
        await consumer.commit(offsets)
    except (CommitFailedError, IllegalStateError) as error:
        log.warning("not committed, so it comes again: %s", error)


async def main() -> None:
    findings = Findings(Path(setting("FINDINGS_FILE", "findings.ndjson")))
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    consumer = AIOKafkaConsumer(
        setting("KAFKA_TOPIC", "plumbline.compliance-findings"),
        group_id=setting("KAFKA_GROUP", "findings-file"),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=10_000,
        **kafka_options(),
    )
    async with consumer:
        await consume(consumer, findings, stopping)


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    try:
        asyncio.run(main())
    except (BadRecordError, KafkaError, OSError) as error:
        log.error("stopped: %s", error)
        sys.exit(1)
