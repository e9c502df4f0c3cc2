"""The version lock notices every change of a judgement and no change of a text; the JSON Schema knows the format."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from plumbline_contracts.events import Product
from plumbline_evaluator.catalogue import schema, versions
from plumbline_evaluator.catalogue.loading import load
from plumbline_evaluator.catalogue.model import Control

FOLDER = Path(__file__).parents[3] / "controls"
CONTROLS = load(FOLDER).controls
DORMANT = CONTROLS["SF-ID-45"]
FILES = sorted(path for product in Product for path in FOLDER.glob(f"{product}/*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(json.loads((FOLDER / schema.FILE).read_text()))


def _changed(control: Control, place: tuple[str | int, ...], value: Any) -> Control:
    document = control.model_dump(mode="json", by_alias=True)
    node: Any = document
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = value
    return Control.model_validate(document)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("check", "pass"), "idle_days < params.max_idle_days"),
        (("check", "where"), "true"),
        (("check", "target_percent"), 99),
        (("check", "absent"), "PASS"),
        (("points",), 5),
        (("params", "max_idle_days", "default"), 91),
        (("params", "max_idle_days", "maximum"), 91),
        (("applies_when",), [{"dataset": "organization", "expression": "is_sandbox"}]),
    ],
)
def test_a_changed_judgement_needs_a_higher_version(place: tuple[str, ...], value: Any) -> None:
    record = versions.updated([DORMANT], {})
    changed = _changed(DORMANT, place, value)
    assert list(versions.problems([changed], record)) == [
        f"SF-ID-45: judges otherwise than version {DORMANT.version} on record; raise its version"
    ]
    assert list(versions.problems([_changed(changed, ("version",), DORMANT.version + 1)], record)) == []


@pytest.mark.parametrize(
    "place", [("title",), ("description",), ("check", "expected"), ("check", "population"), ("check", "exposed")]
)
def test_a_changed_text_needs_none(place: tuple[str, ...]) -> None:
    assert list(versions.problems([_changed(DORMANT, place, "other words")], versions.updated([DORMANT], {}))) == []


def test_a_version_never_falls_and_an_id_that_is_gone_stays_on_record() -> None:
    record = versions.updated([_changed(DORMANT, ("version",), 3)], {})
    assert list(versions.problems([DORMANT], record)) == ["SF-ID-45: version 1 is below 3, which is on record"]
    assert versions.updated([], record) == record


def test_the_record_comes_back_from_its_file_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / versions.FILE
    assert versions.read(path) == {}
    record = versions.updated(CONTROLS.values(), {})
    path.write_text(versions.text(record))
    assert versions.read(path) == record
    path.write_text('{"SF-ID-45": {"version": "one"}}')
    with pytest.raises(ValueError, match=r"versions\.json is damaged: .*; restore it from the repository"):
        versions.read(path)


def test_the_catalogue_is_on_record_as_it_is() -> None:
    record = versions.read(FOLDER / versions.FILE)
    assert list(versions.problems(CONTROLS.values(), record)) == []
    assert {name for name in CONTROLS if record.get(name, None) is None} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_control_file_fits_the_json_schema(path: Path) -> None:
    errors = VALIDATOR.iter_errors(yaml.safe_load(path.read_text()))
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


@pytest.mark.parametrize(
    ("place", "value", "found"),
    [
        (("points",), 11, "$.points"),
        (("favourite",), True, "$"),
        (("severity",), "awful", "$.severity"),
        (("frameworks", "soc2"), ["CC99.9"], "$.frameworks.soc2[0]"),
        (("frameworks", "soc3"), ["CC1"], "$.frameworks"),
        (("check", "dataset"), "people", "$.check"),
        (("check", "passes"), "true", "$.check"),
    ],
)
def test_the_json_schema_notices_mistakes(place: tuple[str, ...], value: Any, found: str) -> None:
    document = yaml.safe_load((FOLDER / "salesforce" / "SF-ID-45.yaml").read_text())
    node = document
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = value
    assert found in {error.json_path for error in VALIDATOR.iter_errors(document)}
