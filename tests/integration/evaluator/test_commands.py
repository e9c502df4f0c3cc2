"""`evaluator evaluate` and `evaluator controls` as a person runs them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plumbline_contracts import envelope
from plumbline_contracts.events import DatasetError, DatasetState, DatasetSummary, SnapshotCompleted
from plumbline_evaluator.cli import app
from typer.testing import CliRunner, Result

from tests.integration.evaluator.service import Snapshot
from tests.integration.parts import BIN

KEYS = {
    "control_id", "aliases", "outcome", "reason", "points", "max_points", "compliant", "total", "exposed",
    "explanation",
}  # fmt: skip
Lines = list[bytes]


def evaluator(*arguments: object, columns: str = "200") -> Result:
    """Run a command of the evaluator in this process; a defect in it leaves as it is."""
    return CliRunner(env={"COLUMNS": columns}).invoke(app, [*map(str, arguments)], catch_exceptions=False)


def _line(record: str, value: bytes) -> bytes:
    return b'{"record":"' + record.encode() + b'",' + value[1:]


def _completed() -> SnapshotCompleted:
    """Users were read, the session settings were denied, the password policies failed."""
    completed = Snapshot("sales").completed(None)
    denied = DatasetError(code="INSUFFICIENT_ACCESS", message="no", permission="View Setup", remedy="Setup > there")
    failed = DatasetError(code="http_503", message="unavailable")
    more = [
        DatasetSummary(name="session_settings", kind="document", state=DatasetState.DENIED, error=denied, source="S"),
        DatasetSummary(name="password_policies", kind="document", state=DatasetState.ERROR, error=failed, source="P"),
    ]
    return completed.model_copy(update={"datasets": [*completed.datasets, *more]})


@pytest.fixture
def lines() -> Lines:
    """A snapshot file's lines."""
    completed = _completed()
    snapshot = Snapshot("sales", snapshot_id=completed.snapshot_id, publication_id="")
    return [
        *(_line("dataset-chunk", chunk) for chunk in snapshot.chunks()),
        _line("snapshot-completed", envelope.encode(completed)),
    ]


def _write(path: Path, lines: Lines, end: bytes = b"\n") -> Path:
    path.write_bytes(b"\n".join(lines) + end)
    return path


def test_a_recorded_snapshot_is_judged_and_written_a_result_a_line(tmp_path: Path, lines: Lines) -> None:
    out = tmp_path / "results.ndjson"
    done = evaluator("evaluate", "--snapshot", _write(tmp_path / "s", lines), "--out", out)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "Secure Score" in done.stdout
    found = {result["control_id"]: result for result in map(json.loads, out.read_text().splitlines())}
    assert all(result.keys() >= KEYS for result in found.values())
    assert (found["SF-ID-13"]["compliant"], found["SF-ID-13"]["exposed"]) == (2, 1)
    unknown = [result for result in found.values() if result["outcome"] == "UNKNOWN"]
    assert {result["reason"] for result in unknown} == {"missing_permission", "collection_error"}
    denied = [result for result in unknown if result["reason"] == "missing_permission"]
    assert all("Grant View Setup: Setup > there" in result["explanation"] for result in denied)
    listed = json.loads(evaluator("controls", "list", "--json").stdout)
    active = [control["id"] for control in listed if control["status"] == "active"]
    assert found.keys() == {name for name in active if name.startswith("SF-")}


def _cells(stdout: str) -> dict[str, list[str]]:
    """The rows of the printed table by control: the cells of the lines of one row, joined."""
    rows: dict[str, list[str]] = {}
    current = ""
    for line in (line for line in stdout.splitlines() if line.startswith(("│", "┃"))):
        cells = [cell.strip() for cell in line.replace("┃", "│").strip("│").split("│")]
        current = cells[0] or current
        rows[current] = [f"{old} {new}".strip() for old, new in zip(rows.get(current, [""] * 5), cells, strict=True)]
    return rows


def test_the_table_says_what_was_found_and_why_it_is_unknown(tmp_path: Path, lines: Lines) -> None:
    cells = _cells(evaluator("evaluate", "--snapshot", _write(tmp_path / "s", lines)).stdout)
    assert cells["control"] == ["control", "outcome", "points", "title", "what was found"]
    title = "Users have a registered MFA method"
    found = "1 of 3 active internal users who log in directly without a registered MFA method"
    assert cells["SF-ID-13"][3] == title
    assert cells["SF-ID-13"][4].startswith(f"{found} (first: ")
    assert cells["SF-ID-13"][4].endswith("; expected of each: a registered MFA method.")
    assert cells["SF-AP-01"][1] == "UNKNOWN"
    assert cells["SF-AP-01"][4].startswith("missing_permission: SecuritySettings could not be read")
    assert cells["SF-ID-01"][4].startswith("collection_error: SecuritySettings could not be read (unavailable)")


def test_a_long_finding_is_cut_and_a_narrow_terminal_keeps_the_table(tmp_path: Path, lines: Lines) -> None:
    long = lines[-1].replace(b'"message":"unavailable"', b'"message":"' + b"unavailable " * 40 + b'"')
    assert long != lines[-1]
    path = _write(tmp_path / "s", [*lines[:-1], long])
    for columns in ("80", "120", "200"):
        stdout = evaluator("evaluate", "--snapshot", path, columns=columns).stdout
        assert max(map(len, stdout.splitlines())) <= int(columns)
        cells = _cells(stdout)
        assert cells["SF-ID-01"][4].endswith(" …")
        assert cells["SF-AP-01"][4].startswith("missing_permission: ")


def _changed(lines: Lines, **changes: Any) -> Lines:
    document = json.loads(lines[-1])
    return [*lines[:-1], json.dumps({**document, **changes}).encode()]


def _reordered(lines: Lines) -> Lines:
    """The same records as another writer might put them: `record` is not the first key."""
    documents = [json.loads(line) for line in lines]
    return [json.dumps({"zz": 1, **dict(sorted(document.items()))}).encode() for document in documents]


def test_the_order_of_keys_in_a_line_does_not_matter(tmp_path: Path, lines: Lines) -> None:
    one = evaluator("evaluate", "--snapshot", _write(tmp_path / "one", lines))
    two = evaluator("evaluate", "--snapshot", _write(tmp_path / "two", _reordered(lines)))
    assert (two.exit_code, two.stdout) == (0, one.stdout)


def _without_rows(line: bytes) -> bytes:
    return line[: line.index(b'"rows":[')] + b'"rows":[]}'


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda lines: [], "the file is empty"),
        (lambda lines: lines[:-1], "expected a snapshot-completed record"),
        (lambda lines: [*lines[:-1], lines[-1][:90]], "Invalid JSON"),
        (lambda lines: [b"hello", b"world"], "not JSON"),
        (lambda lines: [b"[1]"], "not a record"),
        (lambda lines: lines[1:], ":1: not chunk 0 of snapshot"),
        (lambda lines: [lines[0], lines[0], *lines[1:]], ":2: not chunk 1 of snapshot"),
        (lambda lines: [lines[0], _without_rows(lines[1]), lines[2]], "2 rows in 2 chunks, the completion says 3 rows"),
        (lambda lines: [lines[0].replace(b"005000000000002AAA", b"x")[:-2], *lines[1:]], ":1: "),
        (lambda lines: [lines[0].replace(b'"contoso"', b'"fabrikam"'), *lines[1:]], ":1: not chunk 0"),
        (lambda lines: [*lines, *lines], "one file holds one snapshot"),
        (lambda lines: [b"x" * (17 * 1024 * 1024), *lines], "is longer than 16 MB"),
        (lambda lines: [*lines[:-1], b"x" * (17 * 1024 * 1024)], "is longer than 16 MB"),
        (lambda lines: [b"[" * 200_000, *lines], ":1: not JSON"),
        (lambda lines: _changed(lines, product="workday"), "product: Input should be"),
        (lambda lines: _changed(lines, product="servicenow"), "not chunk 0"),
        (lambda lines: _changed(lines, datasets=[]), "the completion says 0 rows in 0 chunks"),
    ],
)
def test_a_damaged_file_is_one_clear_line_and_no_results(
    tmp_path: Path, lines: Lines, damage: Callable[[Lines], Lines], said: str
) -> None:
    damaged = damage(lines)
    path = _write(tmp_path / "s", damaged, end=b"\n" if damaged else b"")
    done = evaluator("evaluate", "--snapshot", path, "--out", tmp_path / "out")
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(str(path))
    assert said in line
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_a_file_or_a_folder_that_cannot_be_used_is_named(tmp_path: Path, lines: Lines) -> None:
    path = _write(tmp_path / "s", lines)
    for arguments, said in (
        (["--snapshot", tmp_path / "nothing"], "nothing: cannot be read: No such file"),
        (["--snapshot", tmp_path], "cannot be read: Is a directory"),
        (["--snapshot", path, "--out", tmp_path / "no" / "out"], "out cannot be written: No such file"),
        (["--snapshot", path, "--out", "/dev/full"], "/dev/full cannot be written: No space left"),
        (["--snapshot", path, "--controls", tmp_path], "catalogue.yaml: cannot be read"),
    ):
        done = evaluator("evaluate", *arguments)
        assert done.exit_code == 1, arguments
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_the_catalogue_is_listed_shown_linted_and_tested() -> None:
    assert "controls are well-formed" in evaluator("controls", "lint").stdout
    assert "max_idle_days = 90" in evaluator("controls", "show", "SF-ID-45").stdout
    assert "SF-ID-45" in evaluator("controls", "list").stdout
    tested = evaluator("controls", "test", "SF-ID-45")
    assert (tested.exit_code, "1 controls, 0 failed" in tested.stdout) == (0, True)
    unknown = evaluator("controls", "show", "SF-NOT-THERE")
    assert (unknown.exit_code, unknown.stderr.count("\n")) == (1, 1)
    assert "no control SF-NOT-THERE" in unknown.stderr


def test_lint_reports_every_problem_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "salesforce").mkdir()
    (tmp_path / "catalogue.yaml").write_text("version: '1'\ngeneration: 1\n")
    (tmp_path / "salesforce" / "A.yaml").write_text("a: [1")
    (tmp_path / "salesforce" / "B.yaml").write_text("id: B\nfavourite: yes\n")
    (tmp_path / "salesforce" / "C.yaml").write_text("id: C\ntitle: one\nid: D\n")
    done = evaluator("controls", "lint", "--controls", tmp_path)
    assert done.exit_code == 1
    said = done.stderr.splitlines()
    assert any(line.startswith(f"{tmp_path}/salesforce/A.yaml:1: not YAML") for line in said)
    assert f"{tmp_path}/salesforce/B.yaml:2: favourite: unknown key; known here: " in "\n".join(said)
    assert f"{tmp_path}/salesforce/C.yaml:3: the key id stands here twice" in said
    assert said[-1].endswith("problems in the catalogue")


def test_the_installed_command_ends_with_the_status(tmp_path: Path) -> None:
    command = [str(BIN / "evaluator"), "evaluate", "--snapshot", str(tmp_path / "nothing")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PLUMBLINE_CONTROLS", "/not/there", "/not/there/catalogue.yaml: cannot be read"),
        (
            "PLUMBLINE_EVALUATOR_HEALTH_PORT",
            "many",
            "evaluator: PLUMBLINE_EVALUATOR_HEALTH_PORT: Input should be a valid integer",
        ),
        (
            "PLUMBLINE_EVALUATOR_SESSION_TIMEOUT_SECONDS",
            "1",
            "evaluator: PLUMBLINE_EVALUATOR_SESSION_TIMEOUT_SECONDS: Input should be",
        ),
        ("PLUMBLINE_TOPIC_PREFIX", "a b", "evaluator: PLUMBLINE_TOPIC_PREFIX: String should match"),
        ("PLUMBLINE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL", "needs PLUMBLINE_KAFKA_SASL_USERNAME"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_its_name(variable: str, value: str, said: str) -> None:
    done = CliRunner().invoke(app, ["run"], env={variable: value}, catch_exceptions=False)
    (line,) = done.stderr.splitlines()
    assert (done.exit_code, said in line) == (2, True), line
