"""Mistakes in the catalogue are refused with file and line."""

import shutil
from pathlib import Path

import pytest
from plumbline_evaluator.catalogue.loading import CatalogueError, load

CONTROLS = Path(__file__).parents[3] / "controls"
FRAMEWORKS = sorted(path.stem for path in (CONTROLS / "frameworks").glob("*.yaml"))
SAMPLE = "salesforce/SF-ID-45.yaml"
COUNT = "salesforce/SF-ID-39.yaml"
PROPERTY = "servicenow/SNOW-INP-04.yaml"
ROW = "servicenow/SNOW-ACL-02.yaml"
ANY = "servicenow/SNOW-IAM-18.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "salesforce").mkdir()
    shutil.copy(CONTROLS / "catalogue.yaml", tmp_path)
    shutil.copy(CONTROLS / SAMPLE, tmp_path / SAMPLE)
    shutil.copytree(CONTROLS / "frameworks", tmp_path / "frameworks")
    return tmp_path


def _edit(folder: Path, old: str, new: str) -> None:
    path = folder / SAMPLE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _take(folder: Path, control: str, old: str, new: str) -> None:
    """Add a control of the catalogue with one change."""
    text = (CONTROLS / control).read_text()
    assert old in text
    (folder / control).parent.mkdir(exist_ok=True)
    (folder / control).write_text(text.replace(old, new, 1))


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
        ("version: 1", "version: 1\nfavourite: yes", "favourite: unknown key; known here: id, version"),
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
    ("control", "old", "new", "message"),
    [
        (COUNT, "bands:\n", "bands:\n    - {max: params.most, share: 1}\n", "bands: params.most is not a number and"),
        (COUNT, "bands:\n", "bands:\n    - {max: most, share: 1}\n", "bands: most is not a number and names no"),
        (PROPERTY, "from: zurich", "from: zurick", "absent: there is no release zurick; known are tokyo"),
        (PROPERTY, "value: 'true'", "value: 'yes'", "absent: the value in force 'yes' is not of type bool"),
        (ROW, "  key: ", "  match: {is_active: x}\n  # ", "match: "),
    ],
)
def test_what_would_stop_an_evaluation_later_is_refused_at_load(
    folder: Path, control: str, old: str, new: str, message: str
) -> None:
    _take(folder, control, old, new)
    with pytest.raises(CatalogueError) as caught:
        load(folder)
    assert str(caught.value).startswith(f"{folder / control}:")
    assert message in str(caught.value)


def test_a_bound_must_be_a_number(folder: Path) -> None:
    _edit(folder, "check:\n  kind: rows\n", "check:\n  kind: count\n")
    _edit(folder, "  exposed: without a recent login\n", "")
    _edit(folder, "  pass: idle_days <= params.max_idle_days\n", "  bands: [{max: params.max_idle_days, share: 1}]\n")
    assert load(folder)
    _edit(folder, "type: int\n    default: 90\n    minimum: 7\n    maximum: 365", "type: string\n    default: x")
    with pytest.raises(CatalogueError, match=r"bands: params\.max_idle_days is of type string, expected int"):
        load(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("soc2: [CC6.2]", "soc3: [CC6.2]", "frameworks.soc3: no framework soc3 in frameworks/; there are attack"),
        ("soc2: [CC6.2]", "soc2: [CC99.9]", "frameworks.soc2.0: CC99.9 is not declared in frameworks/soc2.yaml"),
    ],
)
def test_a_framework_id_that_is_not_declared_is_refused_with_its_line(
    folder: Path, old: str, new: str, message: str
) -> None:
    _edit(folder, old, new)
    with pytest.raises(CatalogueError) as caught:
        load(folder)
    assert str(caught.value) == f"{folder / SAMPLE}:{_line_of(folder, new)}: {message}" + (
        "".join(f", {name}" for name in FRAMEWORKS[1:]) if "soc3" in new else ""
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id: soc2", "id: soc3", ":2: id: the file name and the id soc3 differ"),
        ("  - id: CC6.2\n", "  - id: CC6.2\n  - id: CC6.2\n", ": CC6.2 stands here twice"),
        ("publisher:", "editor:", "editor: unknown key; known here: id, name, version, publisher"),
        ("url: https", "url: http", "url: String should match pattern"),
        ("ids:\n", "ids: [\n", "not YAML"),
    ],
)
def test_a_mistake_in_a_framework_is_refused_with_its_line(folder: Path, old: str, new: str, message: str) -> None:
    path = folder / "frameworks" / "soc2.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(CatalogueError) as caught:
        load(folder)
    assert f"{path}:" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("salesforce/SF-ID-46.yml", "not read: the files of a catalogue end in .yaml"),
        ("salesfroce/SF-ID-46.yaml", "not read: there is no product salesfroce"),
        ("salesfroce/old/SF-ID-46.yaml", "not read: there is no product salesfroce"),
        ("salesforce/old/SF-ID-46.yaml", "not read: salesforce has no folders in it"),
        ("frameworks/old/SF-ID-46.yaml", "not read: frameworks has no folders in it"),
        ("SF-ID-46.yaml", "not read: only catalogue.yaml stands here; controls stand in salesforce, servicenow"),
        ("catalogue.yml", "not read: only catalogue.yaml stands here"),
        ("salesforce/SF-ID-46.YAML", "not read: the files of a catalogue end in .yaml"),
    ],
)
def test_a_control_that_would_be_passed_over_is_refused(folder: Path, name: str, message: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(CONTROLS / "salesforce/SF-ID-46.yaml", folder / name)
    with pytest.raises(CatalogueError) as caught:
        load(folder)
    assert str(caught.value).startswith(f"{folder / name}:1: {message}")


@pytest.mark.parametrize("name", ["..data/SF-ID-46.yaml", "README.md", "docs/notes.txt"])
def test_hidden_files_and_what_is_no_yaml_may_lie_in_the_folder(folder: Path, name: str) -> None:
    """A Kubernetes volume keeps its files in a hidden folder."""
    (folder / name).parent.mkdir(exist_ok=True)
    shutil.copy(CONTROLS / "salesforce/SF-ID-46.yaml", folder / name)
    assert list(load(folder).controls) == ["SF-ID-45"]


@pytest.mark.parametrize(
    ("control", "old", "new", "message"),
    [
        (
            SAMPLE,
            "  kind: rows\n",
            "  kind: rows\n  key: x\n",
            "key: unknown key; known here: kind, dataset, population, exposed, ",
        ),
        (
            SAMPLE,
            "    minimum: 7\n",
            "    least: 7\n",
            "least: unknown key; known here: type, minimum, maximum, choices, default, description",
        ),
        (
            COUNT,
            "bands:\n",
            "bands:\n    - {least: 0, share: 1}\n",
            "least: unknown key; known here: min, max, max_percent, share",
        ),
        (PROPERTY, "from: zurich", "since_when: zurich", "since_when: unknown key; known here: from, until, value"),
        (
            ANY,
            "      key: ",
            "      property: ",
            "property: unknown key; known here: kind, dataset, subject, key, match, pass",
        ),
        (SAMPLE, "  steps:\n", "  verified: x\n  steps:\n", "verified: unknown key; known here: steps, side_effects"),
        (SAMPLE, "    expect:\n", "    expect:\n      score: 1\n", "score: unknown key; known here: outcome, reason"),
    ],
)
def test_an_unknown_key_comes_with_those_that_are_known_there(
    folder: Path, control: str, old: str, new: str, message: str
) -> None:
    _take(folder, control, old, new)
    with pytest.raises(CatalogueError) as caught:
        load(folder)
    assert message in str(caught.value)
    assert "Extra inputs" not in str(caught.value)


def test_an_unknown_key_of_the_header_has_its_line(folder: Path) -> None:
    (folder / "catalogue.yaml").write_text("version: '1'\ngeneration: 1\nname: x\n")
    with pytest.raises(CatalogueError) as caught:
        load(folder)
    wanted = f"{folder}/catalogue.yaml:3: name: unknown key; known here: version, generation"
    assert str(caught.value) == wanted


def test_a_key_that_stands_twice_is_refused(folder: Path) -> None:
    _edit(folder, "points: 4\n", "points: 4\npoints: 5\n")
    with pytest.raises(CatalogueError) as caught:
        load(folder)
    assert str(caught.value) == f"{folder / SAMPLE}:{_line_of(folder, 'points: 5')}: the key points stands here twice"


def test_a_duplicate_alias_names_both_files(folder: Path) -> None:
    _edit(folder, "points: 4\n", "points: 4\naliases: [MDA_SF_x]\n")
    _take(folder, "salesforce/SF-ID-46.yaml", "points: ", "aliases: [MDA_SF_x]\npoints: ")
    with pytest.raises(CatalogueError) as caught:
        load(folder)
    assert str(caught.value).endswith(f"aliases: alias MDA_SF_x is also in {folder / SAMPLE}")
    assert "SF-ID-46.yaml:" in str(caught.value)


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
    _edit(folder, "maximum: 365", "maximum: 3000")
    assert load(folder).digest != before
