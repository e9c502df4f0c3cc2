"""Choosing, sorting and counting recommendations of a tenant's picture. Pure.

Search is a comparison of text in memory: nothing that a caller sends ever reaches a query of the database.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from plumbline_score_api.pictures.picture import Recommendation
from plumbline_score_api.pictures.tenant import TenantPicture
from plumbline_score_api.recommendations.filters import Filters


class Sort(StrEnum):
    """The order of a list. Ties go by rank, then by name."""

    RANK = "rank"
    POINTS_LEFT = "points_left"
    SEVERITY = "severity"
    NAME = "name"
    LAST_CHANGED = "last_changed"


_VALUES: Mapping[str, Callable[[Recommendation], Iterable[str]]] = {
    "product": lambda item: (item.product,),
    "instance": lambda item: (item.instance,),
    "control": lambda item: (item.control.control_id, *item.definition.aliases),
    "outcome": lambda item: (item.control.outcome,),
    "status": lambda item: (item.status,),
    "category": lambda item: (item.definition.category,),
    "severity": lambda item: (item.definition.severity,),
    "framework": lambda item: item.definition.frameworks,
    "regressed": lambda item: (_text(item.control.regressed_at is not None),),
    "stale": lambda item: (_text(item.stale_since is not None),),
}
COUNTED = tuple(name for name in _VALUES if name != "control")
"""What is counted by value: all but the controls, of which there are as many as recommendations of an instance."""
_SEVERITIES = ("critical", "high", "medium", "low", "informational")
_LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Selection:
    """Recommendations in an order, with the key that each is sorted by and its place by rank, from 1."""

    items: list[Recommendation]
    keys: list[str]
    ranks: list[int]

    def after(self, key: str | None) -> int:
        """The place of the first item behind a key."""
        return 0 if key is None else bisect_right(self.keys, key)


def select(picture: TenantPicture, filters: Filters, sort: Sort = Sort.RANK) -> Selection:
    """What matches the filters, in order."""
    question = ("select", filters.model_dump_json(), sort)
    return picture.once(question, lambda: _ordered(list(filter(matcher(filters), picture.ranked)), sort))


def counts(picture: TenantPicture, filters: Filters) -> dict[str, dict[str, int]]:
    """Filter to value to how many match that value and all the other filters."""
    question = ("counts", filters.model_dump_json())
    return picture.once(question, lambda: _count(picture, filters))


def matcher(filters: Filters) -> Callable[[Recommendation], bool]:
    """Whether a recommendation matches."""
    wanted, words = [(_VALUES[name], chosen) for name, chosen in _wanted(filters).items()], _words(filters)

    def matches(item: Recommendation) -> bool:
        return all(not chosen.isdisjoint(values(item)) for values, chosen in wanted) and all(
            word in item.text for word in words
        )

    return matches


def _wanted(filters: Filters) -> dict[str, frozenset[str]]:
    return {name: frozenset(map(_text, getattr(filters, name))) for name in _VALUES if getattr(filters, name)}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _words(filters: Filters) -> list[str]:
    return (filters.text or "").casefold().split()


def _count(picture: TenantPicture, filters: Filters) -> dict[str, dict[str, int]]:
    """In one pass: what misses one filter alone is counted among that filter's values."""
    wanted, words = _wanted(filters), _words(filters)
    found: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
    for item in picture.ranked:
        missed = [name for name, chosen in wanted.items() if chosen.isdisjoint(_VALUES[name](item))]
        if len(missed) > 1 or any(word not in item.text for word in words):
            continue
        for name in missed or COUNTED:
            if name in found:
                found[name].update(map(str, _VALUES[name](item)))
    return {name: dict(sorted(values.items())) for name, values in found.items()}


def _ordered(items: list[Recommendation], sort: Sort) -> Selection:
    """`items` come by rank."""
    ranked = [(sort_key(item, sort), place, item) for place, item in enumerate(items, start=1)]
    ranked.sort(key=lambda entry: entry[0])
    return Selection(
        items=[item for _, _, item in ranked],
        keys=[key for key, _, _ in ranked],
        ranks=[place for _, place, _ in ranked],
    )


def sort_key(item: Recommendation, sort: Sort) -> str:
    """Sorts as text; no two recommendations of a tenant have the same."""
    match sort:
        case Sort.POINTS_LEFT:
            lead = f"{round((10 - item.points.left) * 1000):05d}"
        case Sort.SEVERITY:
            lead = str(_SEVERITIES.index(item.definition.severity))
        case Sort.NAME:
            lead = item.definition.title.casefold()
        case Sort.LAST_CHANGED:
            lead = f"{(_LATEST - item.changed_at).total_seconds():018.3f}"
        case Sort.RANK:
            lead = ""
    return f"{lead}\x00{item.rank_key}"
