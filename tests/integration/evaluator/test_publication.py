"""The catalogue on `control-catalogue`: there before the first result, and right after every change of the files."""

import shutil
from pathlib import Path

import httpx
import pytest
from plumbline_contracts.events import ControlDefinition

from tests.integration.evaluator.service import Evaluator, Snapshot, Stage, results
from tests.polling import until

CONTROLS = Path(__file__).parents[3] / "controls"
CHANGED, GONE, KEPT = "SF-ID-45", "SF-ID-46", "SF-ID-13"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalogue of three controls, generation 1."""
    folder = tmp_path / "controls"
    (folder / "salesforce").mkdir(parents=True)
    shutil.copytree(CONTROLS / "frameworks", folder / "frameworks")
    for control in (CHANGED, GONE, KEPT):
        shutil.copy(CONTROLS / "salesforce" / f"{control}.yaml", folder / "salesforce")
    _write_generation(folder, 1)
    return folder


def _write_generation(folder: Path, generation: int) -> None:
    (folder / "catalogue.yaml").write_text(f"version: '1'\ngeneration: {generation}\n")


def _newer(folder: Path, tmp_path: Path) -> Path:
    """The catalogue a release later: one control changed, one gone."""
    newer = tmp_path / "newer"
    shutil.copytree(folder, newer)
    _write_generation(newer, 2)
    (newer / "salesforce" / f"{GONE}.yaml").unlink()
    path = newer / "salesforce" / f"{CHANGED}.yaml"
    path.write_text(path.read_text().replace("title: ", "title: Truly ", 1))
    return newer


def _run(stage: Stage, folder: Path) -> dict[str, ControlDefinition]:
    """Start an evaluator on a catalogue and stop it; what is published then."""
    evaluator = stage.start(PLUMBLINE_CONTROLS=folder)
    assert evaluator.service.stop() == 0
    return stage.definitions()


def _states(definitions: dict[str, ControlDefinition]) -> list[tuple[str, str, int]]:
    return sorted((d.control_id, d.status, d.catalogue_generation) for d in definitions.values())


def test_the_catalogue_is_there_before_the_first_result(stage: Stage) -> None:
    stage.publish(Snapshot("sales"))
    stage.start()
    found = results(stage.wait_for_evaluation("sales"))
    catalogue = stage.records("control-catalogue")
    named = {f"{result.control_id}@{result.control_digest}" for result in found.values()}
    assert named <= {record.key.decode() for record in catalogue}
    first = min(record.timestamp for record in stage.records("control-results"))
    assert max(record.timestamp for record in catalogue) <= first


def test_a_newer_catalogue_retires_what_is_gone_and_an_older_one_changes_nothing(
    stage: Stage, folder: Path, tmp_path: Path
) -> None:
    first = _run(stage, folder)
    assert _states(first) == [(KEPT, "active", 1), (CHANGED, "active", 1), (GONE, "active", 1)]
    assert _run(stage, folder) == first
    assert len(stage.records("control-catalogue")) == 3, "what is there is not published again"
    newer = _newer(folder, tmp_path)
    second = _run(stage, newer)
    assert _states(second) == [
        (KEPT, "active", 2),
        (CHANGED, "active", 2),
        (CHANGED, "retired", 1 + 1),
        (GONE, "retired", 2),
    ]
    count = len(stage.records("control-catalogue"))
    assert _run(stage, folder) == second, "an older generation neither retires nor revives anything"
    assert len(stage.records("control-catalogue")) == count


def test_a_definition_that_is_no_longer_readable_is_published_again(stage: Stage, folder: Path) -> None:
    first = _run(stage, folder)
    deleted, spoiled, _ = first
    stage.produce("control-catalogue", [(deleted.encode(), None, []), (spoiled.encode(), b"spoiled", [])])
    stage.start(PLUMBLINE_CONTROLS=folder)
    newest = {record.key.decode(): record.value for record in stage.records("control-catalogue")}
    assert all(ControlDefinition.model_validate_json(value) == first[key] for key, value in newest.items())
    assert newest.keys() == first.keys()


def test_a_mounted_folder_is_taken_while_it_runs_and_a_broken_one_is_shown(
    stage: Stage, folder: Path, tmp_path: Path
) -> None:
    custom = tmp_path / "custom"
    custom.mkdir()
    evaluator = stage.start(PLUMBLINE_CONTROLS=folder, PLUMBLINE_CUSTOM_CONTROLS=custom)
    control = (folder / "salesforce" / f"{KEPT}.yaml").read_text().replace(f"id: {KEPT}", "id: ACME-01", 1)
    (custom / "ACME-01.yaml").write_text(control)
    until(lambda: evaluator.lines("catalogue changed"), within_seconds=30, what="the new control is taken")
    assert "ACME-01" in {definition.control_id for definition in stage.definitions().values()}
    stage.publish(Snapshot("sales"))
    assert "ACME-01" in results(stage.wait_for_evaluation("sales"))

    (custom / "ACME-01.yaml").write_text(control.replace("pass: has_mfa_method", "pass: has_mfa"))
    problem = until(lambda: _problem(evaluator), within_seconds=30, what="the mistake is shown")
    assert f"{custom / 'ACME-01.yaml'}:" in problem
    assert "undeclared reference to 'has_mfa'" in problem
    assert evaluator.answer("/readyz") == 200
    assert evaluator.metric("plumbline_evaluator_catalogue_problems") == 1
    stage.publish(Snapshot("later"))
    assert "ACME-01" in results(stage.wait_for_evaluation("later"))


def _problem(evaluator: Evaluator) -> str | None:
    """What the health page says of the catalogue's folders, if they cannot be used."""
    text = httpx.get(f"{evaluator.health_url}/healthz", trust_env=False).text
    return text if "cannot be used" in text else None


def test_a_broken_mounted_folder_stops_the_start(stage: Stage, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "ACME-01.yaml").write_text("id: ACME-01\n")
    evaluator = stage.start(PLUMBLINE_CONTROLS=folder, PLUMBLINE_CUSTOM_CONTROLS=tmp_path, wait=False)
    assert evaluator.wait() == 2
    assert f"{tmp_path / 'ACME-01.yaml'}:1: version: Field required" in evaluator.service.text()
