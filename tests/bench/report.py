"""The figures as a table on the terminal and as a page of the documentation."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.figures import HEADINGS, Section, cells

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "benchmarks.md"

_HEAD = """\
<!-- Written by `make bench`. Do not edit: run it again. -->
# Benchmarks

Every figure is a ratio of two things that were measured in the same run, in turns, on the same machine; the raw
medians stand beside it. Take the ratio, not the number: the machine is a small one, and other work may have run
on it. The ratio is the median of the ratios of the repetitions, *worst* is the slowest or largest repetition.
None of this is asserted in the test suite.

Measured {date} in {minutes:.0f} minutes on {machine}; the load average at the end was {load:.1f}.
"""


def show(sections: Sequence[Section]) -> None:
    """Print all figures."""
    table = Table(*HEADINGS)
    for section in sections:
        table.add_section()
        for figure in section.figures:
            table.add_row(*cells(figure))
    Console(width=160).print(table)


def write(sections: Sequence[Section], minutes: float) -> None:
    """Write the page."""
    head = _HEAD.format(
        date=f"{datetime.now(UTC):%Y-%m-%d}", minutes=minutes, machine=_machine(), load=os.getloadavg()[1]
    )
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join([head, *map(_section, sections)]), encoding="utf-8")


def _section(section: Section) -> str:
    lines = [_row(HEADINGS), _row(["---"] * len(HEADINGS)), *(_row(cells(figure)) for figure in section.figures)]
    remarks = [f"- {remark}" for remark in section.remarks]
    parts = [f"## {section.title}", section.about, "\n".join(lines), *(["\n".join(remarks)] if remarks else [])]
    return "\n\n".join(parts) + "\n"


def _row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _machine() -> str:
    return f"{os.cpu_count()} cores ({_processor()}), {platform.system()}, Python {platform.python_version()}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
