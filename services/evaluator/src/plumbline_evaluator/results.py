"""Cuts the results of one evaluation into parts that fit into a record."""

from collections.abc import Iterable, Iterator

from plumbline_contracts.events import ControlResult, ControlResults, ExposedEntities, SnapshotCompleted

PART_BYTES = 512 * 1024
_LIMIT_BYTES = PART_BYTES - 128 * 1024
"""Room for what the last part adds: dataset summaries and audit entries."""

Item = ExposedEntities | ControlResult


class PartCutter:
    """Collects items into parts of at most 512 KB, numbered from 0. `header` gives what all parts share."""

    def __init__(self, header: ControlResults) -> None:
        self._header = header
        self._number, self._size = 0, 0
        self._waiting: list[Item] = []

    def add(self, items: Iterable[Item]) -> Iterator[ControlResults]:
        """Take items; the parts that are full by now."""
        for item in items:
            size = len(item.model_dump_json(exclude_none=True))
            if self._waiting and self._size + size > _LIMIT_BYTES:
                yield self._cut()
            self._waiting.append(item)
            self._size += size

    def last(self, completed: SnapshotCompleted) -> ControlResults:
        """The last part: it alone has `part_count`, the datasets' states and the audit entries."""
        rest = {
            "part_count": self._number + 1,
            "datasets": completed.datasets,
            "audit_entries": completed.audit_entries,
        }
        return self._cut().model_copy(update=rest)

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
