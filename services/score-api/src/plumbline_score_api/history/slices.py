"""A category or framework alone, out of a scope: its sums, and what changes are within it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from plumbline_score_api.history.changing import (
    ControlChange,
    DayTally,
    InsightsChange,
    Shift,
    State,
    Sums,
    Tally,
    Totals,
    change_of,
)


@dataclass(frozen=True)
class Slice:
    """All controls, those of one category, or those that are mapped to one framework."""

    category: str | None = None
    framework: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it holds all controls."""
        return self.category is None and self.framework is None

    def holds(self, state: State) -> bool:
        """Whether a control is in it."""
        is_of_category = self.category is None or state.category == self.category
        return is_of_category and (self.framework is None or self.framework in state.frameworks)

    def sums(self, totals: Totals) -> Sums:
        """Its part of the sums."""
        if self.category is not None:
            return totals.categories.get(self.category, Sums())
        return totals.frameworks.get(self.framework, Sums()) if self.framework is not None else totals

    def tally(self, day: DayTally) -> Tally:
        """Its part of what a day brought."""
        if self.category is not None:
            return day.categories.get(self.category, Tally())
        return day.frameworks.get(self.framework, Tally()) if self.framework is not None else day.whole

    def change(self, change: ControlChange) -> ControlChange | None:
        """What a change is within it: a control may come to it or leave it. None when it does not touch it."""
        if self.is_whole:
            return change
        before, after = (state if state and self.holds(state) else None for state in (change.before, change.after))
        if before is None and after is None:
            return None
        if (before, after) == (change.before, change.after):
            return change
        authors = {change.control_id: (change.by, change.note)} if change.by is not None else {}
        return change_of(change.instance, change.control_id, before, after, authors)

    def changes(self, changes: Iterable[ControlChange]) -> list[ControlChange]:
        """What changes are within it."""
        return [within for change in changes if (within := self.change(change)) is not None]

    def insights(self, changes: Iterable[InsightsChange]) -> list[InsightsChange]:
        """What insights did to it."""
        return list(changes) if self.is_whole else [self._insights(change) for change in changes]

    def _insights(self, change: InsightsChange) -> InsightsChange:
        parts = change.categories if self.category is not None else change.frameworks
        shift = parts.get(str(self.category or self.framework), Shift(points=0, max_points=0))
        return change.model_copy(update={**shift.model_dump(), "categories": {}, "frameworks": {}})


WHOLE = Slice()
