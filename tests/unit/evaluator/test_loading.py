"""Mistakes in the catalogue are refused with file and line."""

import shutil
from pathlib import Path

import pytest
from plumbline_evaluator.catalogue.loading import CatalogueError, load

CONTROLS = Path(__file__).parents[3] / "controls"
SAMPLE = "salesforce/SF-ID-45.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "salesforce").mkdir()
    shutil.copy(CONTROLS / "catalogue.yaml", tmp_path)
    shutil.copy(CONTROLS / SAMPLE, tmp_path / SAMPLE)
    return tmp_path


def _edit(folder: Path, old: str, new: str) -> None:
    path = folder / SAMPLE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _line_of(folder: Path, text: str) -> int:
    return next(n for n, line in enumerate((folder / SAMPLE).read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pass: idle_days", "pass: idle_dais", "undeclared reference to 'idle_dais'"),
        ("params.max_idle_days", "params.max_days", "names params.max_days, which is not declared"),
        ("pass: idle_days <= params.max_idle_days", "pass: idle_days == 'x'", "no matching overload"),
        ("pass: idle_days <= params.max_idle_days", "pass: idle_days", "is of type int, expected bool"),
        ("dataset: users", "dataset: people", "salesforce has no dataset people"),
        ("kind: rows", "kind: row", "row"),
        ("severity: medium", "severity: awful", "Input should be"),
        ("points: 4", "points: 11", "less than or equal to 10"),
        ("default: 90", "default: 5", "below the minimum"),
        ("expected: a login within the last {max_idle_days} days", "expected: within {days}", "unknown parameter"),
        ("version: 1", "version: 1\nfavourite: yes", "Extra inputs"),
    ],
)
def test_a_mistake_names_file_line_and_cause(folder: Path, old: str, new: str, message: str) -> None:
    _edit(folder, old, new)
    with pytest.raises(CatalogueError, match=message) as caught:
        load(folder)
    assert str(caught.value).startswith(str(folder / SAMPLE) + ":")


def test_the_line_is_that_of_the_expression(folder: Path) -> None:
    _edit(folder, "pass: idle_days", "pass: idle_dais")
    with pytest.raises(CatalogueError) as caught:
        load(folder)
    assert f"{SAMPLE}:{_line_of(folder, 'pass: idle_dais')}:" in str(caught.value)


def test_a_duplicate_id_names_both_files(folder: Path) -> None:
    shutil.copy(folder / SAMPLE, folder / "salesforce/SF-ID-46.yaml")
    with pytest.raises(CatalogueError) as caught:
        load(folder)
    assert "SF-ID-45 is also in" in str(caught.value)
    assert "SF-ID-46.yaml:1" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [("", "the file is empty"), ("a: [1", "not YAML"), ("- 1", "valid dictionary")]
)
def test_a_file_that_is_no_control_is_refused(folder: Path, content: str, message: str) -> None:
    (folder / "salesforce/BAD.yaml").write_text(content)
    with pytest.raises(CatalogueError, match=message):
        load(folder)


def test_a_folder_that_is_no_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="folder of the catalogue"):
        load(tmp_path)


def test_the_digest_moves_with_a_judgement_and_not_with_a_case(folder: Path) -> None:
    before = load(folder).digest
    _edit(folder, "name: everyone complies", "name: all comply")
    assert load(folder).digest == before
    _edit(folder, "maximum: 3650", "maximum: 3000")
    assert load(folder).digest != before
