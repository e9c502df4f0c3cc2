"""What the commands print: tables for people, on a terminal or in a file."""

import os
import sys
from collections.abc import Sequence

from plumbline_contracts.events import DatasetState, DatasetSummary, SnapshotCompleted
from rich.console import Console
from rich.table import Table

from plumbline_collector.forecast import Forecast
from plumbline_collector.rights import MissingRight, Unread, points_of

WIDTH_ELSEWHERE = 160
CONTROLS_SHOWN = 8


def console() -> Console:
    """Standard output, in the terminal's width; wide enough for the tables when it is no terminal."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH_ELSEWHERE)


def _some(controls: Sequence[str]) -> str:
    shown = ", ".join(controls[:CONTROLS_SHOWN])
    rest = len(controls) - CONTROLS_SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown or "-"


def rights_table(rights: Sequence[MissingRight]) -> Table:
    """The permissions to grant and what each costs while it is missing."""
    table = Table("grant", "then readable", "controls", "points")
    for right in rights:
        table.add_row(right.permission, "\n".join(right.unread), _some(right.controls), f"{right.points:g}")
    return table


def places(rights: Sequence[MissingRight]) -> list[str]:
    """Where to grant them, each way once: rights that differ in their name alone are granted in the same place."""
    ways: dict[str, list[str]] = {}
    for right in rights:
        name = right.permission.removeprefix("read ACL on ")
        ways.setdefault(right.remedy.replace(name, "…"), []).append(right.permission)
    return [
        (right.remedy if len(names) == 1 else f"{way}, for each")
        for way, names in ways.items()
        for right in rights
        if right.permission == names[0]
    ]


def others_table(lines: Sequence[Unread]) -> Table:
    """What is not readable for a reason that no permission mends."""
    table = Table("not readable", "state", "why", "controls", "points", title_justify="left")
    for line in lines:
        table.add_row(line.name, line.state, line.message, _some(line.controls), f"{line.points:g}")
    return table


def cost_sentence(lines: Sequence[Unread]) -> str:
    """What all that is unread costs together, each control counted once."""
    controls = sorted({control for line in lines for control in line.controls})
    if not controls:
        return "No control of the catalogue needs them."
    return f"{len(controls)} controls worth {points_of(controls):g} points need what is not readable."


def plan_table(forecasts: Sequence[Forecast]) -> Table:
    """The calls of one collection and of a day, connection by connection."""
    table = Table(
        "instance", "one collection", "full runs", "looks for changes", "calls a day", "enough below a limit of"
    )
    for each in forecasts:
        table.add_row(
            each.instance,
            f"{each.calls_per_full_run} calls",
            f"{each.full_runs_per_day} a day",
            f"{each.looks_per_day} a day x {each.calls_per_look}",
            f"{each.calls_per_day:,}",
            f"{each.daily_limit_needed:,} a day (share {each.api_share:.0%})",
        )
    return table


def plan_details(forecast: Forecast) -> Table:
    """What one collection of one connection calls, dataset by dataset; those of a single call in one line."""
    table = Table("dataset", "calls", title=f"{forecast.instance}: one collection", title_justify="left")
    several = {name: calls for name, calls in forecast.calls_by_dataset.items() if calls > 1}
    for name, calls in sorted(several.items(), key=lambda item: -item[1]):
        table.add_row(name, str(calls))
    singles = [name for name, calls in forecast.calls_by_dataset.items() if calls == 1]
    shared = [name for name, calls in forecast.calls_by_dataset.items() if calls == 0]
    table.add_row(", ".join(singles), f"1 each, {len(singles)} together")
    if shared:
        table.add_row(", ".join(shared), "none, out of the calls of others")
    return table


def snapshot_table(completed: SnapshotCompleted) -> Table:
    """What was read, in which state and at which cost."""
    table = Table("dataset", "state", "rows", "calls", "KB", "seconds", "remark")
    for summary in completed.datasets:
        table.add_row(
            summary.name,
            summary.state,
            str(summary.row_count),
            str(summary.calls if summary.calls is not None else "-"),
            f"{(summary.bytes or 0) / 1024:.0f}",
            f"{summary.seconds or 0:.2f}",
            remark(summary),
        )
    return table


def snapshot_sentence(completed: SnapshotCompleted, calls: int, left: int | None) -> str:
    """The whole snapshot in a line. `calls` counts all, also those that belong to no dataset."""
    whole = sum(summary.state is DatasetState.OK for summary in completed.datasets)
    rows = sum(summary.row_count for summary in completed.datasets)
    seconds = (completed.completed_at - completed.started_at).total_seconds()
    share = "" if left is None else f"; {left:,} calls of today's share are left"
    read = f"{whole} of {len(completed.datasets)} datasets read whole"
    return f"{read}, {rows:,} rows, {calls:,} calls, {seconds:.1f} s{share}"


def remark(summary: DatasetSummary) -> str:
    """Why a dataset is not what it could be; empty when it is."""
    if summary.error:
        return summary.error.message
    return f"without {', '.join(field.field for field in summary.missing_fields)}" if summary.missing_fields else ""
