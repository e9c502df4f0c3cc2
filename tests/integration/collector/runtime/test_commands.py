"""`collector snapshot`, `check`, `plan` and `lint` as a person runs them."""

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.collector.runtime.service import BIN, SECRET, SECRET_VARIABLE, Org, entry, simulated, write

BASIC = {"method": "basic", "username": "integration@example.com", "password": {"env": SECRET_VARIABLE}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the connections file goes."""
    return tmp_path / "connections.yaml"


def collector(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the collector."""
    environment = {**os.environ, SECRET_VARIABLE: SECRET, **variables}
    command = [str(BIN / "collector"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def snapshot(file: Path, instance: str, out: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Record a snapshot."""
    return collector("snapshot", f"--connections={file}", f"--instance={instance}", f"--out={out}", **variables)


def lines(path: Path) -> list[dict[str, Any]]:
    """The records of a snapshot file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_snapshot_is_a_file_of_chunks_and_one_completion(file: Path, servicenow: Org, tmp_path: Path) -> None:
    write(file, entry("snow", servicenow.url, "servicenow"))
    out = tmp_path / "snow.ndjson"
    done = snapshot(file, "demo/snow", out)
    assert done.returncode == 0, done.stderr
    records = lines(out)
    assert {record["record"] for record in records[:-1]} == {"dataset-chunk"}
    last = records[-1]
    assert last["record"] == "snapshot-completed"
    assert "chunks" not in last
    counted = {d["name"]: (d["row_count"], d["chunk_count"]) for d in last["datasets"]}
    for name, (rows, chunks) in counted.items():
        own = [record for record in records[:-1] if record["dataset"] == name]
        assert (sum(len(record["rows"]) for record in own), len(own)) == (rows, chunks)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["connections.yaml", "snow.ndjson"]


def test_a_snapshot_of_a_restricted_org_tells_its_states_and_the_permissions(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "sf.ndjson"
    with simulated(seed="restricted") as org:
        write(file, entry("sf", org.url))
        done = snapshot(file, "sf", out)
        checked = collector("check", f"--connections={file}", "--json")
    assert done.returncode == 0, done.stderr
    datasets = lines(out)[-1]["datasets"]
    withheld = [d["name"] for d in datasets if d["state"] == "denied" or d.get("missing_fields")]
    assert withheld
    assert checked.returncode == 1
    (report,) = json.loads(checked.stdout)
    assert {line["dataset"] for line in report["missing"] + report["not_there"]} >= set(withheld)
    to_grant = [line for line in report["missing"] if line["permission"]]
    assert all(line["remedy"] for line in to_grant)
    assert not any(line["permission"] for line in report["not_there"])
    assert report["grant"][0]["points"] == max(right["points"] for right in report["grant"]) > 0
    assert sorted(name for right in report["grant"] for name in right["unread"]) == sorted(
        line["dataset"] + (f".{line['field']}" if line["field"] else "") for line in to_grant
    )


def test_a_snapshot_is_written_even_if_every_dataset_failed(file: Path, salesforce: Org, tmp_path: Path) -> None:
    salesforce.fault({"kind": "broken_json", "match": "/services/data/", "times": -1})
    write(file, entry("sf", salesforce.url))
    out = tmp_path / "sf.ndjson"
    done = snapshot(file, "sf", out)
    assert done.returncode == 3, done.stderr
    assert "no dataset could be read" in done.stderr
    (completed,) = lines(out)
    assert {d["state"] for d in completed["datasets"]} == {"error"}


@pytest.mark.parametrize("auth", [None, BASIC])
def test_an_instance_that_falls_asleep_half_way_gives_a_file_with_what_was_read(
    file: Path, servicenow: Org, tmp_path: Path, auth: dict[str, Any] | None
) -> None:
    servicenow.fault({"kind": "hibernation", "match": "table/sys_user?", "times": -1})
    write(file, entry("snow", servicenow.url, "servicenow", **({"auth": auth} if auth else {})))
    out = tmp_path / "snow.ndjson"
    done = snapshot(file, "snow", out)
    assert done.returncode == 0, done.stderr
    states = {d["name"]: (d["state"], d.get("error", {}).get("message", "")) for d in lines(out)[-1]["datasets"]}
    assert states["system_properties"] == ("ok", "")
    assert states["users"][0] == "error"
    assert "hibernating" in states["users"][1]


def test_a_wrong_password_gives_no_file(file: Path, servicenow: Org, tmp_path: Path) -> None:
    auth = {"method": "basic", "username": "integration", "password": {"env": "PATH"}}
    write(file, entry("snow", servicenow.url, "servicenow", auth=auth))
    done = snapshot(file, "snow", tmp_path / "snow.ndjson")
    assert done.returncode == 1
    assert "refused" in done.stderr
    assert not (tmp_path / "snow.ndjson").exists()


@pytest.mark.parametrize(
    ("changes", "instance", "status", "expected"),
    [
        ({}, "nope", 2, "no instance nope"),
        ({"url": "http://127.0.0.1:9"}, "sf", 1, "salesforce/sf: the token request failed"),
        ({"allow_private_network": False}, "sf", 1, "allow_private_network: true"),
        ({"product": "workday"}, "sf", 2, "connections.yaml:1: "),
    ],
)
def test_a_failure_is_one_clear_line_and_no_file(
    file: Path, salesforce: Org, tmp_path: Path, changes: dict[str, Any], instance: str, status: int, expected: str
) -> None:
    write(file, entry("sf", salesforce.url, **changes))
    out = tmp_path / "sf.ndjson"
    out.write_text("the former snapshot")
    done = snapshot(file, instance, out)
    assert (done.returncode, expected in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert out.read_text() == "the former snapshot"
    assert not list(tmp_path.glob("*.partial"))


def test_a_wrong_secret_is_said_without_it(file: Path, salesforce: Org, tmp_path: Path) -> None:
    write(file, entry("sf", salesforce.url))
    done = snapshot(file, "sf", tmp_path / "sf.ndjson", **{SECRET_VARIABLE: "unseen-hunter2"})
    assert done.returncode == 1
    assert "the token request was refused" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    done = snapshot(file, "sf", tmp_path / "sf.ndjson", **{SECRET_VARIABLE: ""})
    assert f"the environment variable {SECRET_VARIABLE}, which holds a secret, is not set" in done.stderr


def test_an_output_folder_that_is_not_there_is_said(file: Path, salesforce: Org, tmp_path: Path) -> None:
    write(file, entry("sf", salesforce.url))
    (tmp_path / "file").write_text("")
    done = snapshot(file, "sf", tmp_path / "file" / "sf.ndjson")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_reports_every_connection_whatever_the_others_do(file: Path, salesforce: Org, servicenow: Org) -> None:
    write(
        file,
        entry("gone", "http://127.0.0.1:9"),
        entry("sf", salesforce.url),
        entry("snow", servicenow.url, "servicenow"),
    )
    done = collector("check", f"--connections={file}", "--json")
    reports = {report["instance"]: report for report in json.loads(done.stdout)}
    assert done.returncode == 1
    assert "token request failed" in reports["demo/gone"]["problem"]
    assert not reports["demo/sf"]["problem"]
    assert "users" in reports["demo/snow"]["readable"]
    table = collector("check", f"--connections={file}")
    assert "demo/sf" in table.stdout
    assert "Traceback" not in table.stderr


USERS = {"salesforce": "User", "servicenow": "sys_user"}


def test_plan_foretells_what_a_snapshot_calls(file: Path, tmp_path: Path) -> None:
    for product in ("salesforce", "servicenow"):
        with simulated(product, users=60) as org:
            write(file, entry("org", org.url, product))
            assert snapshot(file, "org", tmp_path / "out.ndjson").returncode == 0
            called = sum(org.requests().values())
            done = collector("plan", f"--connections={file}", "--users=60", "--json")
            more = collector("plan", f"--connections={file}", "--users=60", f"--rows={USERS[product]}=60000", "--json")
        (forecast,), (larger,) = json.loads(done.stdout), json.loads(more.stdout)
        assert forecast["calls_per_full_run"] == pytest.approx(called, abs=12)
        assert sum(forecast["calls_by_dataset"].values()) < forecast["calls_per_full_run"] <= 90
        assert forecast["calls_per_day"] == 24 * (forecast["calls_per_full_run"] + forecast["calls_per_look"])
        assert larger["calls_by_dataset"]["users"] >= forecast["calls_by_dataset"]["users"] + 29


def test_a_row_count_that_is_none_is_refused(file: Path) -> None:
    write(file, entry("sf", "https://example.my.salesforce.com"))
    done = collector("plan", f"--connections={file}", "--rows=User=many")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--rows User=many: expected OBJECT=N" in done.stderr


def test_lint_counts_the_connections(file: Path) -> None:
    write(file, entry("sf", "https://example.my.salesforce.com"))
    done = collector("lint", f"--connections={file}")
    assert (done.returncode, done.stdout.strip()) == (0, "1 connections are well-formed")
