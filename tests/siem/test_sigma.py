"""The Sigma rules are valid, become queries of SIEMs, and find what they are for and nothing else."""

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.siem import tools
from tests.siem.sending import finding

RULES = tools.SHIPPED / "sigma"
NAMES = ["critical-finding-opened", "exception-expired", "score-drop", "score-drop-by-count"]
BEGAN_MS = 1_795_428_000_000
MINUTE_MS = 60_000
CONVERTED = [
    *((name, target) for name in NAMES[:2] for target in ("splunk", "lucene", "esql", "opensearch_lucene")),
    *(("score-drop-by-count", target) for target in ("splunk", "esql", "eql")),
]


def _sigma(*arguments: str | Path) -> str:
    """Standard output of sigma-cli."""
    command = [tools.made(tools.SIGMA), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@cache
def sigma_query(name: str, target: str) -> str:
    """What a rule becomes for a target of sigma-cli."""
    return _sigma("convert", "--without-pipeline", "--target", target, RULES / f"{name}.yml")


def _documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((RULES / f"{name}.yml").read_text()))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str | int | float]]:
    """Dotted names and values, as SIEMs index them; lists as JSON."""
    if isinstance(value, dict):
        for part, inner in value.items():
            yield from _flat(inner, f"{name}.{part}" if name else part)
    else:
        yield name, json.dumps(value) if isinstance(value, list) else value


def _event(
    minute: float = 0, *, control: str = "SF-ID-05", instance: str = "sales-eu", tenant: str = "contoso", **changed: Any
) -> dict[str, Any]:
    """A critical finding that regressed and was worth 7 points; `changed` are dotted names with `__` for dots."""
    time_ms = BEGAN_MS + round(minute * MINUTE_MS)
    event = finding(tenant=tenant, instance=instance, control=control, sequence=1, time_ms=time_ms)
    flat = dict(_flat(event))
    for name, value in changed.items():
        assert name.replace("__", ".") in flat
        flat[name.replace("__", ".")] = value
    return {**flat, "timestamp": flat["time_dt"]}


def _found(name: str, *found: dict[str, Any]) -> list[Any]:
    """What the rule finds among these events on a real database: `metadata.uid`, or for a correlation its value."""
    database = sqlite3.connect(":memory:")
    columns = list(found[0])
    names = ", ".join(f"`{column}`" for column in columns)
    database.execute(f"CREATE TABLE logs ({names})")
    marks = ", ".join("?" * len(columns))
    database.executemany(
        f"INSERT INTO logs VALUES ({marks})",  # noqa: S608 (question marks alone)
        [[event[column] for column in columns] for event in found],
    )
    cursor = database.execute(sigma_query(name, "sqlite"))
    given = [column[0] for column in cursor.description]
    wanted = "metric_value" if "metric_value" in given else "metadata.uid"
    told = [row[given.index(wanted)] for row in cursor]
    database.close()
    return told


def test_the_linter_has_nothing_to_say() -> None:
    told = _sigma("check", "--fail-on-error", "--fail-on-issues", RULES)
    assert "Found 0 errors, 0 condition errors and 0 issues." in told


def test_every_rule_is_tested_here() -> None:
    assert sorted(path.stem for path in RULES.glob("*.yml")) == sorted(NAMES)


def test_ids_are_unique() -> None:
    ids = [document["id"] for name in NAMES for document in _documents(name)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", NAMES)
def test_fields_are_those_of_events(name: str) -> None:
    known = set(_event())
    for document in _documents(name):
        parts = [part for key, part in document.get("detection", {}).items() if key != "condition"]
        used = {field for part in parts for field in part}
        used |= set(document.get("correlation", {}).get("group-by", []))
        used |= {document.get("correlation", {}).get("condition", {}).get("field", "time")}
        assert used <= known


@pytest.mark.parametrize(("name", "target"), CONVERTED)
def test_rules_become_queries_of_siems(name: str, target: str) -> None:
    query = sigma_query(name, target)
    fields = [
        field
        for document in _documents(name)
        for key, part in document.get("detection", {}).items()
        if key != "condition"
        for field in part
    ]
    assert all(field in query for field in fields)


def test_a_critical_finding_that_opens_is_found() -> None:
    opened, regressed = _event(control="SF-ID-01", unmapped__transition="failed"), _event(control="SF-ID-02")
    quiet = [
        _event(control="SF-ID-03", severity_id=4),
        _event(control="SF-ID-04", activity_id=2, unmapped__transition="evidence_changed"),
        _event(control="SF-ID-05", activity_id=3, status_id=4, compliance__status_id=1, unmapped__transition="passed"),
        _event(control="SF-ID-06", status_id=3),
        _event(control="SF-ID-07", compliance__status_id=2, unmapped__transition="no_result"),
    ]
    assert _found("critical-finding-opened", opened, regressed, *quiet) == [
        opened["metadata.uid"],
        regressed["metadata.uid"],
    ]


def test_an_exception_that_expires_is_found_while_the_control_fails() -> None:
    expired = _event(control="SF-ID-01", activity_id=2, unmapped__transition="exception_expired")
    quiet = [
        _event(control="SF-ID-02", unmapped__transition="exception_expired", compliance__status_id=1),
        _event(control="SF-ID-03", activity_id=2, status_id=3, unmapped__transition="risk_accepted"),
        _event(control="SF-ID-04"),
    ]
    assert _found("exception-expired", expired, *quiet) == [expired["metadata.uid"]]


@pytest.mark.parametrize("transition", ["regressed", "exception_expired", "reopened"])
def test_points_that_are_lost_within_an_hour_add_up(transition: str) -> None:
    lost = [
        _event(control="SF-ID-01", unmapped__score__points_max=6.0, unmapped__transition=transition),
        _event(59, control="SF-ID-02", unmapped__score__points_max=4.5, unmapped__transition=transition),
    ]
    assert _found("score-drop", *lost) == [10.5]


@pytest.mark.parametrize(
    "second",
    [
        {"minute": 61},
        {"instance": "itsm"},
        {"tenant": "fabrikam"},
        {"unmapped__transition": "failed"},
        {"activity_id": 2, "unmapped__transition": "evidence_changed"},
        {"unmapped__score__points_max": 3.5},
    ],
)
def test_points_that_do_not_add_up_are_no_score_drop(second: dict[str, Any]) -> None:
    first = _event(control="SF-ID-01", unmapped__score__points_max=6.0)
    other = _event(**{"control": "SF-ID-02", "unmapped__score__points_max": 9.0, **second})
    assert _found("score-drop", first, other) == []


def test_three_findings_within_an_hour_are_a_score_drop_by_count() -> None:
    lost = [_event(20.0 * number, control=f"SF-ID-0{number}") for number in range(1, 5)]
    assert _found("score-drop-by-count", *lost[:2]) == []
    assert _found("score-drop-by-count", *lost[:3]) == [3]
    assert _found("score-drop-by-count", *lost[:2], _event(90, control="SF-ID-03")) == []
