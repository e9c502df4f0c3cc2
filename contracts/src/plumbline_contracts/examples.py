"""The examples of events in `contracts/examples/`: `<event>.v<major>.<name>.json`, each the value of one record."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline_contracts.events import EVENT_TYPES
from plumbline_contracts.files import data_folder
from plumbline_contracts.finding import FINDING_EVENT
from plumbline_contracts.schemas import schema_name

Json = dict[str, Any]

FOLDER = "examples"
"""Below `contracts/`; only the source tree has it."""


@dataclass(frozen=True)
class Example:
    """One value and what stands beside it in its record."""

    event_type: str
    name: str
    path: Path
    value: Json

    @property
    def key(self) -> str:
        """The record key that goes with the value."""
        if self.event_type == FINDING_EVENT:
            return str(self.value["finding_info"]["uid"])
        event: Any = EVENT_TYPES[self.event_type].model_validate(self.value)
        return str(event.key)

    @property
    def moment(self) -> str:
        """The newest time that the value names at its top, RFC 3339: its `ce_time` lies there or later."""
        times = ("time_dt", "evaluated_at", "completed_at", "updated_at", "requested_at")
        return next((str(self.value[name]) for name in times if name in self.value), "2026-11-24T09:00:06.000Z")


def examples(event_type: str) -> list[Example]:
    """All examples of an event, in the order of their names."""
    prefix = schema_name(event_type).removesuffix("json")
    paths = sorted((data_folder() / FOLDER).glob(f"{prefix}*.json"))
    return [
        Example(event_type, path.name.removeprefix(prefix).removesuffix(".json"), path, json.loads(path.read_text()))
        for path in paths
    ]
