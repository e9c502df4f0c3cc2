"""A wrong setting stops the start with the variable's name."""

import pytest
from plumbline_collector.cli import app
from plumbline_collector.settings import Settings
from typer.testing import CliRunner


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PLUMBLINE_COLLECTOR_CONCURRENCY", "0"),
        ("PLUMBLINE_COLLECTOR_NAME", "not a name"),
        ("PLUMBLINE_COLLECTOR_HEALTH_PORT", "many"),
        ("PLUMBLINE_LOG_FORMAT", "xml"),
        ("PLUMBLINE_TOPIC_PREFIX", "not a prefix/"),
    ],
)
def test_the_variable_is_named_and_the_exit_status_is_2(variable: str, value: str) -> None:
    done = CliRunner().invoke(app, ["run"], env={variable: value})
    assert done.exit_code == 2
    assert f"collector: {variable}: " in done.stderr


def test_a_connections_file_that_is_missing_stops_the_start() -> None:
    done = CliRunner().invoke(app, ["run"], env={"PLUMBLINE_CONNECTIONS": "/nonexistent/connections.yaml"})
    assert done.exit_code == 2
    assert "/nonexistent/connections.yaml: cannot be read" in done.stderr


def test_replicas_on_one_disk_have_folders_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = set()
    for name in ("collector-0", "collector-1"):
        monkeypatch.setenv("PLUMBLINE_COLLECTOR_NAME", name)
        folders.add(Settings().own_spool_dir)
    assert len(folders) == 2
