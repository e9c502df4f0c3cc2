"""A figure: one thing measured against another in the same run, and how figures are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Unit = Literal["/s", "s", "MB"]


@dataclass(frozen=True)
class Figure:
    """Repeated measurements of one thing and of its reference, taken in turns.

    `limit` is the target: for `limits="measured"` what the measured median must reach ("/s") or stay below, for
    `limits="ratio"` what the ratio must reach ("/s") or stay below. None: no target.
    """

    name: str
    unit: Unit
    measured: Sequence[float]
    reference: Sequence[float]
    reference_name: str
    limit: float | None = None
    limits: Literal["measured", "ratio"] = "measured"

    @property
    def value(self) -> float:
        """The median of what was measured."""
        return median(self.measured)

    @property
    def reference_value(self) -> float:
        """The median of the reference."""
        return median(self.reference)

    @property
    def ratio(self) -> float:
        """The median of the ratios of each repetition, measured over reference."""
        return median(ours / theirs for ours, theirs in zip(self.measured, self.reference, strict=True))

    @property
    def worst(self) -> float:
        """The slowest or largest measurement."""
        return min(self.measured) if self.unit == "/s" else max(self.measured)

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.limit is None:
            return None
        found = self.ratio if self.limits == "ratio" else self.value
        return found >= self.limit if self.unit == "/s" else found <= self.limit


@dataclass(frozen=True)
class Section:
    """Figures that belong together, and what they say."""

    title: str
    about: str
    figures: Sequence[Figure]
    remarks: Sequence[str] = ()


HEADINGS = ("figure", "measured", "worst", "reference", "ratio", "target")


def cells(figure: Figure) -> tuple[str, ...]:
    """A line of the table, under HEADINGS."""
    return (
        figure.name,
        shown(figure.value, figure.unit),
        shown(figure.worst, figure.unit),
        f"{shown(figure.reference_value, figure.unit)} ({figure.reference_name})",
        f"{figure.ratio:.2f}",
        _target(figure),
    )


def shown(value: float, unit: Unit) -> str:
    """A number as a person reads it: `123,000/s`, `4.2 s`, `76 MB`."""
    match unit:
        case "/s":
            return f"{value:,.0f}/s" if value < 1000 else f"{round(value, -3):,.0f}/s"
        case "s":
            return f"{value:.2f} s" if value >= 0.1 else f"{value * 1000:.1f} ms"
        case "MB":
            return f"{value:.0f} MB"


def _target(figure: Figure) -> str:
    if figure.limit is None:
        return ""
    sign = "≥" if figure.unit == "/s" else "≤"
    bound = (
        f"ratio {sign} {figure.limit:g}" if figure.limits == "ratio" else f"{sign} {shown(figure.limit, figure.unit)}"
    )
    return f"{bound}: {'met' if figure.is_met else 'MISSED'}"
