"""Data of a case that no collector sends is refused when the catalogue is checked, with file and line."""

import shutil
from pathlib import Path

import pytest
from plumbline_evaluator.catalogue.loading import CatalogueError, load

CONTROLS = Path(__file__).parents[3] / "controls"
ROW = "{is_standard: true, is_integration: false, is_frozen: false, has_logged_in: true, idle_days: 90}"


def _control(given: str, params: str = "{}", expect: str = "{outcome: PASS}") -> str:
    text = (CONTROLS / "salesforce" / "SF-ID-45.yaml").read_text().replace("id: SF-ID-45", "id: ACME-01", 1)
    head = text[: text.index("cases:")].replace("title: No dormant users", "title: Nobody sleeps", 1)
    return f"{head}cases:\n  - name: mine\n    given: {given}\n    params: {params}\n    expect: {expect}\n"


def _problems(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a control in an otherwise empty catalogue."""
    path = tmp_path / "salesforce" / "ACME-01.yaml"
    path.parent.mkdir(exist_ok=True)
    shutil.copy(CONTROLS / "catalogue.yaml", tmp_path)
    shutil.copytree(CONTROLS / "frameworks", tmp_path / "frameworks", dirs_exist_ok=True)
    path.write_text(text)
    try:
        load(tmp_path)
    except CatalogueError as error:
        return [problem.removeprefix(f"{path}:") for problem in error.problems]
    return []


def _line(text: str, of: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), start=1) if line.strip().startswith(of))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{user: []}", "given.user: salesforce has no dataset user; it has organization, "),
        ("{users: [{is_standrad: true}]}", "users.0.is_standrad: not a field of users"),
        ("{users: [{idle_days: '90'}]}", "users.0.idle_days: expected int, got str"),
        ("{users: [{is_frozen: 1}]}", "users.0.is_frozen: expected bool, got int"),
        ("{users: [{permissions: [1]}]}", "users.0.permissions: expected string_list, got list"),
        ("{users: [ann]}", "users.0: 'ann' is no row of users"),
        ("{users: ann}", "users: 'ann' is no row of users"),
        ("{users: [{$count: 0}]}", "users.0.$count: expected 1 to 100,000 copies"),
        ("{users: [{$count: many}]}", "users.0.$count: expected 1 to 100,000 copies"),
        ("{users: [{$count: 999999999}]}", "users.0.$count: expected 1 to 100,000 copies"),
        ("{users: {$state: gone}}", "users.$state: no such state; there are ok, "),
        ("{users: {$sate: denied}}", "users.$sate: unknown key; known here: $state, $rows, $document, $missing"),
        ("{users: {$missing: [idle]}}", "users.$missing: idle: not a field of users"),
        ("{users: {$state: truncated, $rows: [{idle: 1}]}}", "users.$rows.0.idle: not a field of users"),
        ("{session_settings: {require_http_only: 'yes'}}", "require_http_only: expected bool, got str"),
        ("{session_settings: {$document: {cookie: true}}}", "$document.cookie: not a field of session_settings"),
    ],
)
def test_data_that_no_collector_sends_is_refused_with_its_line(tmp_path: Path, given: str, message: str) -> None:
    text = _control(given)
    (problem,) = _problems(tmp_path, text)
    assert problem.startswith(f"{_line(text, 'given:')}: cases.0.given."), problem
    assert message in problem
    assert problem.endswith("(case `mine`)")


def test_the_line_is_that_of_the_field(tmp_path: Path) -> None:
    given = f"\n      users:\n        - {ROW}\n        - is_frozen: true\n          idel_days: 3"
    text = _control(given)
    (problem,) = _problems(tmp_path, text)
    assert problem.startswith(f"{_line(text, 'idel_days')}: cases.0.given.users.1.idel_days: ")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("{days: 30}", "params.days: no such parameter; ACME-01 has max_idle_days"),
        ("{max_idle_days: 1}", "params.max_idle_days: 1 is below the minimum of 7"),
        ("{max_idle_days: many}", "params.max_idle_days: expected int, got 'many'"),
    ],
)
def test_a_parameter_that_is_not_allowed_is_refused(tmp_path: Path, params: str, message: str) -> None:
    given = f"{{users: [{ROW}]}}"
    (problem,) = _problems(tmp_path, _control(given, params))
    assert message in problem
    invalid = "{outcome: UNKNOWN, reason: invalid_parameter}"
    assert _problems(tmp_path, _control(given, params, invalid)) == []


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    given = "{user: [], users: [{idle: 1, is_frozen: 'no'}], session_settings: {cookie: true}}"
    assert len(_problems(tmp_path, _control(given))) == 4
