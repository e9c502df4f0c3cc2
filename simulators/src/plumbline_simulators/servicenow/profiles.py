"""How an instance is configured at first: a profile out of `profiles/`, with its properties worked out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from plumbline_simulators.servicenow.access import Access, ColumnAccess
from plumbline_simulators.servicenow.releases import Family, Hardening, hardening

Base = Literal["weak", "secure", "shipped"]
_FOLDER = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class Profile:
    """Release, rows (weak or strong), properties by name, plugins that are not active, and what may be read."""

    release: Family
    rows: Literal["weak", "strong"]
    base: Base
    patched_days_ago: int
    properties: Mapping[str, str | None] = field(default_factory=dict)
    inactive_plugins: frozenset[str] = frozenset()
    access: Mapping[str, Access] = field(default_factory=dict)
    columns: Mapping[str, ColumnAccess] = field(default_factory=dict)

    def on(self, release: Family) -> "Profile":
        """The same on another release: what that release does not know is gone, stated or not."""
        known = hardening()
        kept = {n: v for n, v in self.properties.items() if n not in known or known[n].exists_on(release)}
        return replace(self, release=release, properties=kept)

    def property_values(self) -> dict[str, str]:
        """Every property that has a row."""
        found: dict[str, str | None] = {
            name: _at_first(name, stated, self.base)
            for name, stated in hardening().items()
            if stated.exists_on(self.release)
        }
        found |= self.properties
        return {name: value for name, value in found.items() if value is not None}


def _at_first(name: str, stated: Hardening, base: Base) -> str | None:
    """The value of a property; None for no row. Weak: what ships, undone in one of three, gone in another."""
    if base == "secure":
        return stated.secure
    if base == "shipped":
        return stated.shipped
    share = sum(name.encode()) % 3
    if share == 0 and stated.is_boolean:
        return "false" if stated.secure == "true" else "true"
    return None if share == 1 else stated.shipped


def names() -> list[str]:
    """The profiles that there are."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


@cache
def profile(name: str) -> Profile:
    """A profile by name. Raises ValueError that names those that exist."""
    if name not in names():
        raise ValueError(f"no profile {name}; there are {', '.join(names())}")
    read: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    if base := read.pop("extends", None):
        return replace(profile(base), **read)
    return Profile(
        **read | {"release": Family(read["release"]), "inactive_plugins": frozenset(read.get("inactive_plugins", ()))}
    )
