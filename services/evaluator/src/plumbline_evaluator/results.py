"""Cuts the results of one evaluation into parts that fit into a record."""

import json
from collections.abc import Iterable, Iterator, Sequence

from plumbline_contracts import envelope
from plumbline_contracts.events import (
    AuditEntry,
    ControlResult,
    ControlResults,
    Event,
    Evidence,
    ExposedEntities,
    ExposedEntity,
    SnapshotCompleted,
)
from pydantic import JsonValue

PART_BYTES = 512 * 1024
_ROOM_BYTES = PART_BYTES - 8 * 1024
"""What is left of a part for its items; the rest is for ids, digests and times."""
_SHOWN_CHARACTERS = 2000

Item = ExposedEntities | ControlResult


class PartCutter:
    """Collects items into parts of at most 512 KB on the wire, numbered from 0. `header` gives what all parts share.

    An item that is larger than a part is divided, and a single value that is larger is cut.
    """

    def __init__(self, header: ControlResults) -> None:
        self._header = header
        self._number, self._size = 0, 0
        self._waiting: list[Item] = []

    def add(self, items: Iterable[Item]) -> Iterator[ControlResults]:
        """Take items; the parts that are full by now."""
        for item in items:
            for piece, size in _pieces(item):
                if self._waiting and self._size + size > _ROOM_BYTES:
                    yield self._cut()
                self._waiting.append(piece)
                self._size += size

    def last(self, completed: SnapshotCompleted) -> Iterator[ControlResults]:
        """The rest. The last part alone has `part_count`, the datasets' states and the audit entries.

        Of more audit entries than fit into a part, the newest are kept.
        """
        datasets = sum(map(_size, completed.datasets))
        entries, size = _newest(completed.audit_entries, _ROOM_BYTES - datasets)
        if self._waiting and self._size + datasets + size > _ROOM_BYTES:
            yield self._cut()
        rest = {"part_count": self._number + 1, "datasets": completed.datasets, "audit_entries": entries}
        yield self._cut().model_copy(update=rest)

    def _cut(self) -> ControlResults:
        part = self._header.model_copy(
            update={
                "part": self._number,
                "results": [item for item in self._waiting if isinstance(item, ControlResult)],
                "exposed": [item for item in self._waiting if isinstance(item, ExposedEntities)],
            }
        )
        self._number, self._size, self._waiting = self._number + 1, 0, []
        return part


def _size(event: Event) -> int:
    """Bytes on the wire, the comma to the next one included."""
    return len(envelope.encode(event)) + 1


def _pieces(item: Item) -> Iterator[tuple[Item, int]]:
    """The item in pieces that each fit into a part, with their sizes."""
    size = _size(item)
    if size <= _ROOM_BYTES:
        yield item, size
    elif isinstance(item, ControlResult):
        shorter = _shorter_result(item)
        yield shorter, _size(shorter)
    elif len(item.entities) == 1:
        shorter_group = item.model_copy(update={"entities": [_shorter_entity(item.entities[0])]})
        yield shorter_group, _size(shorter_group)
    else:
        middle = len(item.entities) // 2
        for half in (item.entities[:middle], item.entities[middle:]):
            yield from _pieces(item.model_copy(update={"entities": half}))


def _newest(entries: Sequence[AuditEntry], room: int) -> tuple[list[AuditEntry], int]:
    """As many of the newest entries as fit, in their order, and their size."""
    kept: set[int] = set()
    used = 0
    for number in sorted(range(len(entries)), key=lambda number: entries[number].at, reverse=True):
        size = _size(entries[number])
        if used + size > room:
            break
        used += size
        kept.add(number)
    return [entry for number, entry in enumerate(entries) if number in kept], used


def _shorter_result(result: ControlResult) -> ControlResult:
    texts = {name: _cut_text(getattr(result, name)) for name in ("explanation", "expected", "observed")}
    return result.model_copy(update={**texts, "evidence": [_shorter_evidence(each) for each in result.evidence]})


def _shorter_evidence(evidence: Evidence) -> Evidence:
    return evidence.model_copy(update={"observed": {name: _cut_value(v) for name, v in evidence.observed.items()}})


def _shorter_entity(entity: ExposedEntity) -> ExposedEntity:
    detail = {name: _cut_value(value) for name, value in entity.detail.items()}
    return entity.model_copy(update={"name": _cut_text(entity.name), "detail": detail})


def _cut_value(value: JsonValue) -> JsonValue:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return value if len(text) <= _SHOWN_CHARACTERS else _cut_text(text)


def _cut_text(text: str | None) -> str | None:
    return text if text is None or len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
