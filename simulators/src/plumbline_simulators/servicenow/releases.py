"""Release families of the platform: their order, how a build names itself, and what came and went with each."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path

import yaml


class Family(StrEnum):
    """A release family, from the oldest to the newest."""

    XANADU = "xanadu"
    YOKOHAMA = "yokohama"
    ZURICH = "zurich"
    AUSTRALIA = "australia"
    BRAZIL = "brazil"

    def is_at_least(self, other: "Family") -> bool:
        """Whether this family is `other` or newer."""
        order = list(Family)
        return order.index(self) >= order.index(other)


_BUILT = {
    Family.XANADU: "07-02-2024",
    Family.YOKOHAMA: "12-18-2024",
    Family.ZURICH: "07-01-2025",
    Family.AUSTRALIA: "02-11-2026",
    Family.BRAZIL: "08-05-2026",
}


def build_properties(family: Family, patched: datetime) -> dict[str, str]:
    """The properties that name the build, such as `glide.war` = `glide-australia-02-11-2026__patch0-02-24-2026`."""
    tag = f"glide-{family}-{_BUILT[family]}__patch0"
    return {
        "glide.buildname": family.capitalize(),
        "glide.buildtag": tag,
        "glide.buildtag.last": tag,
        "glide.war": f"{tag}-{patched:%m-%d-%Y}",
        "glide.product.description": "Service Management",
    }


@dataclass(frozen=True)
class Hardening:
    """A property with a documented secure value. `shipped` is None when a new instance has no row of it."""

    secure: str
    shipped: str | None
    since: Family
    until: Family | None

    def exists_on(self, family: Family) -> bool:
        """Whether a new instance of the family knows the property."""
        return family.is_at_least(self.since) and not (self.until and family.is_at_least(self.until))

    @property
    def is_boolean(self) -> bool:
        """Whether it takes true or false alone."""
        return self.secure in ("true", "false")


@cache
def hardening() -> dict[str, Hardening]:
    """Every property with a documented secure value, by name (`properties.yaml`)."""
    read = yaml.safe_load((Path(__file__).parent / "properties.yaml").read_text(encoding="utf-8"))
    return {
        name: Hardening(
            secure=stated["secure"],
            shipped=stated.get("shipped"),
            since=Family(stated.get("since", Family.XANADU)),
            until=Family(stated["until"]) if "until" in stated else None,
        )
        for name, stated in read.items()
    }
