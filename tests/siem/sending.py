"""Events as the product puts them on `compliance-findings`: key, value, headers, time and compression."""

import asyncio
import itertools
import json
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

TOPIC = "compliance-findings"
EVENT_TYPE = "plumbline.finding.v1"
LIMIT_BYTES = 8000
"""The largest event."""

SMALLEST_BYTES = 1000
FINDINGS = [("sales-eu", f"SF-ID-{n:02}") for n in range(1, 19)] + [("itsm", f"SNOW-IAM-{n:02}") for n in range(1, 19)]
HOSTILE = (
    'Zürich 東京 🙂 e\u0301 \u202e\u2028\ufeff "quoted" \\ \t\r\n\0\x1b[31m\x7f\x85 '
    "<script>alert('1')</script> &amp; =HYPERLINK(\"x\") ${HOME} %s %n #012 {{x}} <13>Nov 25 10:00:00 host su: | ; '"
)
_TEMPLATE = json.loads((Path(__file__).parent / "finding.json").read_text())
_KEPT_IN_SMALL = {"metadata", "finding_info", "compliance", "unmapped"}
_NAMESPACE = uuid.UUID("0f3c1f6e-9f51-4b8e-8f57-3a3f4a1d2c10")


@dataclass(frozen=True)
class Sent:
    """One record. `time_ms` is the event's `time` and the record's CreateTime."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    time_ms: int

    @property
    def uid(self) -> str:
        """The event's `metadata.uid`."""
        return str(json.loads(self.value)["metadata"]["uid"])


def compact(event: dict[str, Any]) -> bytes:
    """An event as one line of UTF-8."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def finding(*, tenant: str, instance: str, control: str, sequence: int, time_ms: int) -> dict[str, Any]:
    """An event of a finding, as `finding.json` but for whose it is and when."""
    event: dict[str, Any] = json.loads(json.dumps(_TEMPLATE))
    moment = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    finding_uid = f"{tenant}|{instance}|{control}"
    event |= {"time": time_ms, "time_dt": moment}
    event["metadata"] |= {
        "uid": str(uuid.uuid5(_NAMESPACE, f"{finding_uid}\n{sequence}\n{time_ms}")),
        "sequence": sequence,
        "event_code": control,
        "tenant_uid": tenant,
    }
    event["finding_info"] |= {"uid": finding_uid, "modified_time": time_ms, "modified_time_dt": moment}
    event["compliance"]["control"] = control
    event["unmapped"]["instance"]["id"] = instance
    return event


def _small(event: dict[str, Any]) -> dict[str, Any]:
    """The same with what OCSF requires alone."""
    small = {name: value for name, value in event.items() if not isinstance(value, dict | list)}
    small |= {name: event[name] for name in event if name in _KEPT_IN_SMALL}
    small["finding_info"] = {name: event["finding_info"][name] for name in ("uid", "title")}
    small["compliance"] = {name: event["compliance"][name] for name in ("control", "status_id", "status")}
    small["unmapped"] = {name: event["unmapped"][name] for name in ("transition", "instance")}
    small.pop("message")
    return small


def _text_of(size_bytes: int) -> str:
    """Text that takes so many bytes between the quotes of a JSON string."""
    text, left = "", size_bytes
    for character in itertools.cycle(HOSTILE):
        taken = len(json.dumps(character, ensure_ascii=False).encode()) - 2
        if taken > left:
            return text + "." * left
        text, left = text + character, left - taken
    raise AssertionError("a cycle has no end")


def of_size(event: dict[str, Any], size_bytes: int) -> bytes:
    """The event, in as many bytes as said, filled up with text that programs stumble over.

    Raises ValueError when the event alone is larger.
    """
    filled = event if len(compact(event)) + 32 <= size_bytes else _small(event)
    filled = {**filled, "status_detail": ""}
    room = size_bytes - len(compact(filled))
    if room < 0:
        raise ValueError(f"the event takes {size_bytes - room} bytes, more than {size_bytes}")
    return compact({**filled, "status_detail": _text_of(room)})


def _headers(event: dict[str, Any], tenant: str, instance: str, control: str) -> tuple[tuple[str, bytes], ...]:
    trace = uuid.uuid5(_NAMESPACE, event["metadata"]["uid"]).hex
    headers = {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": event["metadata"]["uid"],
        "ce_source": f"/tenants/{tenant}/instances/{instance}",
        "ce_subject": control,
        "ce_type": EVENT_TYPE,
        "ce_time": event["time_dt"],
        "traceparent": f"00-{trace}-{trace[:16]}-01",
    }
    return tuple((name, value.encode()) for name, value in headers.items())


def events(count: int, *, tenant: str = "contoso", began_ms: int | None = None) -> list[Sent]:
    """`count` events of 36 findings in turn, from SMALLEST_BYTES to LIMIT_BYTES, none in the future."""
    first_ms = began_ms if began_ms is not None else int(time.time() * 1000) - count
    made = []
    for number in range(count):
        instance, control = FINDINGS[number % len(FINDINGS)]
        sequence = number // len(FINDINGS) + 1
        event = finding(tenant=tenant, instance=instance, control=control, sequence=sequence, time_ms=first_ms + number)
        size = SMALLEST_BYTES + (LIMIT_BYTES - SMALLEST_BYTES) * (number * 7 % count) // max(1, count - 7)
        value = of_size(event, min(size, LIMIT_BYTES))
        key = event["finding_info"]["uid"].encode()
        made.append(Sent(key, value, _headers(event, tenant, instance, control), first_ms + number))
    return made


async def _send(bootstrap: str, topic: str, records: Sequence[Sent], pause_seconds: float) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type="lz4", enable_idempotence=True, linger_ms=5
    )
    await producer.start()
    try:
        for record in records:
            await producer.send(
                topic, record.value, key=record.key, timestamp_ms=record.time_ms, headers=list(record.headers)
            )
            await asyncio.sleep(pause_seconds)
    finally:
        await producer.stop()


def send(bootstrap: str, topic: str, records: Sequence[Sent], *, pause_seconds: float = 0.0) -> None:
    """Send records in order, acknowledged when this returns."""
    asyncio.run(_send(bootstrap, topic, records, pause_seconds))


class Sending:
    """Sends in a thread, one record after the other, until all are sent or the block is left."""

    def __init__(self, bootstrap: str, topic: str, records: Sequence[Sent], *, pause_seconds: float) -> None:
        self._arguments = (bootstrap, topic, records, pause_seconds)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            asyncio.run(_send(*self._arguments))
        except BaseException as error:
            self._error = error
            raise

    def __enter__(self) -> "Sending":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error
