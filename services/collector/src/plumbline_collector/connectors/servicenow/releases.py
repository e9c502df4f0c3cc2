"""Releases of the platform: what the text of a build says."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

_FAMILIES = (
    "tokyo", "utah", "vancouver", "washingtondc", "xanadu", "yokohama", "zurich", "australia", "brazil",
)  # fmt: skip
FAMILY_RANKS = {family: rank for rank, family in enumerate(_FAMILIES, start=20)}
_BUILD = re.compile(
    r"(?:glide-)?(?P<family>[a-z]+)-\d{2}-\d{2}-\d{4}"
    r"(?:__patch(?P<patch>\d{1,4})(?!\d)(?:-hotfix(?P<hotfix>\d{1,4})(?!\d)[a-z]?)?(?:-(?P<date>\d{2}-\d{2}-\d{4}))?)?"
)


@dataclass(frozen=True)
class Build:
    """A build such as `glide-zurich-07-01-2025__patch6-hotfix1-02-24-2026`, taken apart; None: not said."""

    family: str
    patch: int | None = None
    hotfix: int | None = None
    patched_at: datetime | None = None

    @property
    def rank(self) -> int | None:
        """The order of the family; None for one that is not known here."""
        return FAMILY_RANKS.get(self.family)

    def is_same_patch(self, other: "Build") -> bool:
        """Whether both are of one family and patch, hotfixes aside."""
        return (self.family, self.patch) == (other.family, other.patch)


def build(said: str | None) -> Build | None:
    """The build that a text names; None when it names none."""
    match = _BUILD.match((said or "").strip().lower())
    if match is None:
        return None
    patch, hotfix = (int(match[name]) if match[name] else None for name in ("patch", "hotfix"))
    return Build(match["family"], patch, hotfix, _day(match["date"]))


def _day(said: str | None) -> datetime | None:
    try:
        return datetime.strptime(said, "%m-%d-%Y").replace(tzinfo=UTC) if said else None
    except ValueError:
        return None
