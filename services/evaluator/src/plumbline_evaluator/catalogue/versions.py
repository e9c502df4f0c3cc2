"""The version lock: how a control judges may change only together with its version.

`controls/versions.json` records, of every control that ever was, its version and a digest of its judgement. Texts are
no part of that: they may be bettered at any time.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from plumbline_evaluator.catalogue.model import Control

FILE = "versions.json"
_WORDS = ("expected", "subject", "population", "singular", "exposed", "observed", "reason", "description")
"""Keys of checks, conditions and parameters that say something and decide nothing."""


class Recorded(BaseModel):
    """What is on record of one control."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    judgement: str


Record = dict[str, Recorded]
_RECORD = TypeAdapter(Record)


def judgement(control: Control) -> str:
    """SHA-256 of all that decides a result: check, conditions, parameters, points, product and status."""
    keys = {"check", "applies_when", "params", "points", "product", "status"}
    content = _without_words(control.model_dump(mode="json", by_alias=True, include=keys))
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _without_words(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {key: _without_words(inner) for key, inner in value.items() if key not in _WORDS}
    return [_without_words(inner) for inner in value] if isinstance(value, list) else value


def read(path: Path) -> Record:
    """The record in a file; empty when there is none. Raises ValueError when it is damaged."""
    if not path.exists():
        return {}
    try:
        return _RECORD.validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path} is damaged: {error.errors()[0]['msg']}; restore it from the repository") from error


def problems(controls: Iterable[Control], record: Record) -> Iterator[str]:
    """Controls whose judgement changed under the same version, or whose version fell."""
    for control in controls:
        known = record.get(control.id)
        if known is None or (known.version, known.judgement) == (control.version, judgement(control)):
            continue
        if control.version < known.version:
            yield f"{control.id}: version {control.version} is below {known.version}, which is on record"
        elif control.version == known.version:
            yield f"{control.id}: judges otherwise than version {known.version} on record; raise its version"


def updated(controls: Iterable[Control], record: Record) -> Record:
    """The record with the controls as they are; those that are gone stay, so that no id is used twice."""
    current = {c.id: Recorded(version=c.version, judgement=judgement(c)) for c in controls}
    return {**record, **current}


def text(record: Record) -> str:
    """The record as it stands in the file."""
    content = {name: record[name].model_dump() for name in sorted(record)}
    return json.dumps(content, indent=1) + "\n"
