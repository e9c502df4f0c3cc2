"""The catalogue as it stands: one definition per control. Pure."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from plumbline_contracts.events import ControlDefinition, Product

from plumbline_score_api.controls.schemas import ControlFilters

RETIRED = "retired"


class Catalogue:
    """The definitions by control id, in its order. It never changes."""

    def __init__(self, definitions: Mapping[str, ControlDefinition]) -> None:
        self.definitions = dict(sorted(definitions.items()))

    @cached_property
    def _by_alias(self) -> dict[str, ControlDefinition]:
        return {alias: each for each in self.definitions.values() for alias in each.aliases}

    @cached_property
    def _texts(self) -> dict[str, str]:
        return {name: _text(each) for name, each in self.definitions.items()}

    def find(self, control: str) -> ControlDefinition | None:
        """A control by id, else by alias; a retired one too."""
        return self.definitions.get(control) or self._by_alias.get(control)

    def select(self, filters: ControlFilters) -> list[ControlDefinition]:
        """What matches, by control id. Retired controls are left out unless their status is asked for."""
        words = (filters.text or "").casefold().split()
        return [
            each
            for each in self.definitions.values()
            if _matches(each, filters) and all(word in self._texts[each.control_id] for word in words)
        ]

    def requirements(self, framework: str, products: Iterable[Product]) -> dict[str, list[str]]:
        """Id of a framework to the controls of these products that are mapped to it, without retired ones."""
        chosen, found = set(products), dict[str, list[str]]()
        for each in self.definitions.values():
            if each.status != RETIRED and each.product in chosen:
                for name in dict.fromkeys(each.frameworks.get(framework, [])):
                    found.setdefault(name, []).append(each.control_id)
        return dict(sorted(found.items()))

    def frameworks(self, products: Iterable[Product]) -> set[str]:
        """The frameworks that controls of these products are mapped to."""
        chosen = set(products)
        there = [each for each in self.definitions.values() if each.status != RETIRED and each.product in chosen]
        return {name for each in there for name in each.frameworks}


def standing(definitions: Iterable[ControlDefinition]) -> dict[str, ControlDefinition]:
    """Control id to the definition that stands: of the newest generation, and not a retired one if there is another."""
    found: dict[str, ControlDefinition] = {}
    for each in sorted(definitions, key=lambda d: (d.catalogue_generation, d.status != RETIRED, d.key)):
        found[each.control_id] = each
    return found


def after(found: list[ControlDefinition], control_id: str | None) -> int:
    """The place of the first control behind one."""
    return 0 if control_id is None else bisect_right(found, control_id, key=lambda each: each.control_id)


_VALUES: Mapping[str, Callable[[ControlDefinition], Iterable[str]]] = {
    "product": lambda each: (each.product,),
    "category": lambda each: (each.category,),
    "severity": lambda each: (each.severity,),
    "framework": lambda each: each.frameworks,
    "requirement": lambda each: {name for ids in each.frameworks.values() for name in ids},
}


def _matches(each: ControlDefinition, filters: ControlFilters) -> bool:
    if each.status not in (filters.status or ("active", "manual")):
        return False
    wanted = {name: set(map(str, getattr(filters, name))) for name in _VALUES}
    return all(not chosen or not chosen.isdisjoint(_VALUES[name](each)) for name, chosen in wanted.items())


def _text(each: ControlDefinition) -> str:
    return "\n".join((each.control_id, *each.aliases, each.title, each.description, each.rationale)).casefold()
