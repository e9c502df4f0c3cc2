"""The contracts of the last release, in `contracts/released/`, and what changed since."""

import json
import shutil
from pathlib import Path
from typing import Any

from plumbline_contracts.compatibility import REMEDY, Changes, schema_changes, topic_changes
from plumbline_contracts.topics import REGISTRY_FILE, read_registry

Json = dict[str, Any]

VERSION_FILE = "VERSION"


class BreakingReleaseError(RuntimeError):
    """Consumers of the last release would break; the message has every break, and the remedy."""

    def __init__(self, breaks: list[str]) -> None:
        lines = "\n".join(f"breaks: {line}" for line in breaks)
        super().__init__(f"{lines}\nnothing is kept. {REMEDY} Before 1.0, --breaking allows it.")


def changes_since_release(contracts: Path) -> Changes:
    """What differs between the last release and today, in the folder `contracts/` of a source tree."""
    released = contracts / "released"
    of_schemas = schema_changes(_schemas(released), _schemas(contracts / "generated" / "schemas"))
    of_topics = topic_changes(
        read_registry((released / REGISTRY_FILE).read_text(encoding="utf-8")),
        read_registry((contracts / REGISTRY_FILE).read_text(encoding="utf-8")),
    )
    return Changes(of_topics.breaks + of_schemas.breaks, of_topics.additions + of_schemas.additions)


def release(contracts: Path, version: str, *, is_breaking_allowed: bool = False) -> None:
    """Make today's schemas and registry the released ones.

    Raises BreakingReleaseError when consumers of the last release would break; `is_breaking_allowed` permits it before
    version 1.0.
    """
    broken = changes_since_release(contracts).breaks
    if broken and not (is_breaking_allowed and version.startswith("0.")):
        raise BreakingReleaseError(broken)
    released = contracts / "released"
    shutil.rmtree(released, ignore_errors=True)
    shutil.copytree(contracts / "generated" / "schemas", released)
    shutil.copy(contracts / REGISTRY_FILE, released)
    (released / VERSION_FILE).write_text(f"{version}\n", encoding="utf-8")


def _schemas(folder: Path) -> dict[str, Json]:
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
