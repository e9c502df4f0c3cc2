"""Every example is valid, current schemas are committed, and nothing that was released is broken."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from plumbline_contracts import envelope
from plumbline_contracts.compatibility import breaking_changes
from plumbline_contracts.events import EVENT_TYPES, Event
from plumbline_contracts.schemas import generated_files, json_schema, schema_name

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "contracts" / "examples").glob("*.json"))
RELEASED = sorted((ROOT / "contracts" / "released").glob("*.json"))
EVENTS = {schema_name(name).removesuffix(".json"): (name, model) for name, model in EVENT_TYPES.items()}


def _event_of(path: Path) -> tuple[str, type[Event]]:
    return EVENTS[path.name.rsplit(".", 2)[0]]


def test_every_event_has_an_example() -> None:
    assert {_event_of(path)[1] for path in EXAMPLES} == set(EVENT_TYPES.values())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_survives_the_wire(path: Path) -> None:
    name, model = _event_of(path)
    document = json.loads(path.read_text())
    Draft202012Validator(json_schema(name, model)).validate(document)
    event = envelope.decode(model, path.read_bytes())
    assert json.loads(envelope.encode(event)) == document


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_reader_ignores_fields_of_a_newer_producer(path: Path) -> None:
    _, model = _event_of(path)
    document = json.loads(path.read_text())
    newer = json.dumps({**document, "added_in_a_later_version": {"x": 1}}).encode()
    assert envelope.decode(model, newer) == envelope.decode(model, path.read_bytes())


def test_generated_files_are_current() -> None:
    stale = [name for name, content in generated_files().items() if (ROOT / name).read_text() != content]
    assert stale == [], "run `contracts generate` and commit the result"


def test_schemas_of_the_last_release_are_kept() -> None:
    assert {path.stem for path in RELEASED} == set(EVENTS)


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_nothing_released_is_removed_or_retyped(path: Path) -> None:
    name, model = EVENTS[path.stem]
    assert breaking_changes(json.loads(path.read_text()), json_schema(name, model)) == []
