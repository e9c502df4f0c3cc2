"""Cuts the results of one evaluation into parts that fit into a record."""

from collections.abc import Iterable, Iterator

from plumbline_contracts.events import (
    ControlResult,
    ControlResults,
    ExposedEntities,
    SnapshotCompleted,
)

PART_BYTES = 512 * 1024
_HEADROOM_BYTES = 128 * 1024
"""What the last part adds: dataset summaries and audit entries."""


def parts(
    header: ControlResults, items: Iterable[ExposedEntities | ControlResult], completed: SnapshotCompleted
) -> Iterator[ControlResults]:
    """Parts of at most 512 KB, numbered from 0; only the last has `part_count`, datasets and audit entries.

    `header` gives the fields that all parts share. Items are taken one at a time.
    """
    limit = PART_BYTES - _HEADROOM_BYTES
    number, size = 0, 0
    waiting: list[ExposedEntities | ControlResult] = []
    for item in items:
        length = len(item.model_dump_json(exclude_none=True))
        if waiting and size + length > limit:
            yield _part(header, number, waiting)
            number, size, waiting = number + 1, 0, []
        waiting.append(item)
        size += length
    last = _part(header, number, waiting)
    yield last.model_copy(
        update={"part_count": number + 1, "datasets": completed.datasets, "audit_entries": completed.audit_entries}
    )


def _part(header: ControlResults, number: int, items: list[ExposedEntities | ControlResult]) -> ControlResults:
    return header.model_copy(
        update={
            "part": number,
            "results": [item for item in items if isinstance(item, ControlResult)],
            "exposed": [item for item in items if isinstance(item, ExposedEntities)],
        }
    )
