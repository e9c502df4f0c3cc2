"""What a connection may not read, which permission is missing, and what that costs in controls and points. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from plumbline_contracts.events import DatasetError, DatasetState, DatasetSummary, Product
from plumbline_contracts.files import data_folder

NOT_THERE = frozenset({DatasetState.NOT_LICENSED, DatasetState.UNSUPPORTED})
"""States that are an answer: the feature is proven not to be there."""


@dataclass(frozen=True)
class Unread:
    """A dataset, or a field of one, that could not be read, and the controls that cannot be judged without it."""

    dataset: str
    field: str | None
    state: DatasetState
    message: str
    permission: str | None
    remedy: str | None
    controls: list[str]
    points: float

    @property
    def name(self) -> str:
        """`dataset` or `dataset.field`."""
        return f"{self.dataset}.{self.field}" if self.field else self.dataset


@dataclass(frozen=True)
class MissingRight:
    """One permission that would make something readable. `points` counts each control once."""

    permission: str
    remedy: str
    unread: list[str]
    controls: list[str]
    points: float


@cache
def control_index() -> dict[str, Any]:
    """The generated index of the control catalogue: dataset fields to controls, controls to points and parameters."""
    path = data_folder() / "generated" / "control-index.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def unread(product: Product, summaries: Iterable[DatasetSummary]) -> list[Unread]:
    """What of a collection or check was not read, dataset by dataset."""
    found = []
    for summary in summaries:
        if summary.state is not DatasetState.OK and summary.error:
            found.append(_unread(product, summary.name, None, summary.state, summary.error))
        found += [
            _unread(product, summary.name, field.field, field.state, field.error) for field in summary.missing_fields
        ]
    return found


def _unread(product: Product, dataset: str, field: str | None, state: DatasetState, error: DatasetError) -> Unread:
    controls = controls_reading(product, dataset, field)
    return Unread(dataset, field, state, error.message, error.permission, error.remedy, controls, points_of(controls))


def controls_reading(product: Product, dataset: str, field: str | None = None) -> list[str]:
    """The controls that read a dataset, or one field of it."""
    fields: Mapping[str, list[str]] = control_index()["datasets"].get(product, {}).get(dataset, {})
    named = fields.get(field, []) if field else [control for controls in fields.values() for control in controls]
    return sorted(set(named))


def points_of(controls: Iterable[str]) -> float:
    """The points of controls together."""
    index = control_index()["controls"]
    return float(sum(index[control]["points"] for control in controls))


def blocking(lines: Iterable[Unread]) -> list[Unread]:
    """What keeps some control from being judged: a control reads it, and the product does not say that it lacks it."""
    return [line for line in lines if line.controls and line.state not in NOT_THERE]


def missing_rights(lines: Iterable[Unread]) -> list[MissingRight]:
    """The permissions to grant, the one that costs most first."""
    by_right: dict[tuple[str, str], list[Unread]] = {}
    for line in lines:
        if line.permission:
            by_right.setdefault((line.permission, line.remedy or ""), []).append(line)
    rights = [_right(permission, remedy, about) for (permission, remedy), about in by_right.items()]
    return sorted(rights, key=lambda right: (-right.points, -len(right.controls), right.permission))


def _right(permission: str, remedy: str, about: list[Unread]) -> MissingRight:
    controls = sorted({control for line in about for control in line.controls})
    return MissingRight(permission, remedy, [line.name for line in about], controls, points_of(controls))
