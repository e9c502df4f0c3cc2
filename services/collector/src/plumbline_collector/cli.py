"""The command `collector`."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Coroutine
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from plumbline_contracts import ids, logs
from plumbline_contracts.events import DatasetState, DatasetSummary, RequestReason
from plumbline_contracts.files import data_folder
from plumbline_contracts.kafka import KafkaSettings
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from plumbline_collector import collection, connections
from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection, ConnectionsError
from plumbline_collector.connectors import open_connector
from plumbline_collector.errors import CollectorError
from plumbline_collector.forecast import forecast
from plumbline_collector.settings import Settings
from plumbline_collector.spool import SpoolError

app = typer.Typer(no_args_is_help=True, help="Reads the security configuration of Salesforce and ServiceNow.")

ConnectionsFile = Annotated[
    Path, typer.Option("--connections", envvar="PLUMBLINE_CONNECTIONS", help="The connections file")
]
T = TypeVar("T")


def _fail(message: str, code: int = 1) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(code)


def _load(path: Path) -> list[Connection]:
    try:
        return connections.load(path)
    except ConnectionsError as error:
        raise _fail(str(error), 2) from error


def _do(work: Coroutine[Any, Any, T]) -> T:
    """Run `work`; what it logs goes to standard error, so that standard output holds the answer alone."""
    logs.configure("collector", form="console", level="error")
    try:
        return asyncio.run(work)
    except (CollectorError, SpoolError) as error:
        raise _fail(str(error)) from error


@app.command()
def run() -> None:
    """Take collection requests, schedule and watch, until stopped."""
    from plumbline_collector.app import main

    try:
        settings, kafka = Settings(), KafkaSettings()
    except ValidationError as error:
        raise _fail("\n".join(_settings_problems(error)), 2) from error
    try:
        status = main(settings, kafka)
    except ConnectionsError as error:
        raise _fail(str(error), 2) from error
    sys.exit(status)


def _settings_problems(error: ValidationError) -> list[str]:
    """A line per wrong setting, with the variable's name and what was expected; never its value."""
    prefix = Settings.model_config["env_prefix"] if error.title == Settings.__name__ else "PLUMBLINE_"
    lines = []
    for problem in error.errors(include_input=False, include_context=False):
        name = ".".join(str(part) for part in problem["loc"])
        variable = name if name.startswith("PLUMBLINE_") else f"{prefix}{name.upper()}"
        place = f"{variable}: " if name else ""
        lines.append(f"collector: {place}{problem['msg'].removeprefix('Value error, ')}")
    return lines


@app.command()
def snapshot(
    connections_file: ConnectionsFile,
    instance: Annotated[str, typer.Option(help="[TENANT/]ID")],
    out: Annotated[Path, typer.Option(help="Where to write the snapshot; mode 0600, it holds personal data")],
) -> None:
    """Record a snapshot of one instance into a file, without a broker."""
    try:
        connection = connections.choose(_load(connections_file), instance)
    except ConnectionsError as error:
        raise _fail(str(error), 2) from error
    draft = out.with_name(out.name + ".partial")
    try:
        spooled = _do(
            collection.collect(
                connection,
                draft,
                request_id=ids.random_id(),
                reason=RequestReason.USER,
                budget=CallBudget(connection.api_share),
                started_at=collection.start_after(None, datetime.now(UTC)),
                keep_unread=True,
            )
        )
        draft.replace(out)
    except OSError as error:
        raise _fail(f"{out} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    for summary in spooled.completed.datasets:
        typer.echo(f"{summary.name:28} {summary.state:12} {summary.row_count:8} rows{_remark(summary)}")
    typer.echo(f"written to {out}")


def _remark(summary: DatasetSummary) -> str:
    missing = f"  without {', '.join(m.field for m in summary.missing_fields)}" if summary.missing_fields else ""
    return f"  {summary.error.message}" if summary.error else missing


@app.command()
def lint(connections_file: ConnectionsFile) -> None:
    """Check the connections file, and its parameters against the control catalogue; send nothing."""
    found = _load(connections_file)
    problems = connections.parameter_problems(connections_file, _index()["controls"])
    if problems:
        raise _fail("\n".join(problems))
    typer.echo(f"{len(found)} connections are well-formed")


@app.command()
def plan(
    connections_file: ConnectionsFile,
    users: Annotated[int, typer.Option(min=0, help="Active users of each org, as far as you know")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array")] = False,
) -> None:
    """Say how many API calls a day each connection will make; send nothing."""
    forecasts = [forecast(connection, users) for connection in _load(connections_file)]
    if as_json:
        lines = [
            {**asdict(each), "calls_per_day": each.calls_per_day, "daily_limit_needed": each.daily_limit_needed}
            for each in forecasts
        ]
        typer.echo(json.dumps(lines, indent=2))
        return
    table = Table("instance", "full runs", "looks for changes", "calls a day", "enough below its share of a limit of")
    for each in forecasts:
        table.add_row(
            each.instance,
            f"{each.full_runs_per_day} x {each.calls_per_full_run} calls",
            f"{each.looks_per_day} x {each.calls_per_look} calls",
            str(each.calls_per_day),
            f"{each.daily_limit_needed} ({each.api_share:.0%})",
        )
    _console().print(table)


@app.command()
def check(
    connections_file: ConnectionsFile,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array")] = False,
) -> None:
    """Try every connection; print what it may read, what it may not, and which permission to grant."""
    reports = _do(_check_all(_load(connections_file)))
    if as_json:
        typer.echo(json.dumps(reports, indent=2, ensure_ascii=False))
    else:
        _print_check(reports)
    if any(report["problem"] or report["missing"] for report in reports):
        raise typer.Exit(1)


async def _check_all(chosen: list[Connection]) -> list[dict[str, Any]]:
    return [await _check(connection) for connection in chosen]


async def _check(connection: Connection) -> dict[str, Any]:
    report: dict[str, Any] = {"instance": connection.key, "product": connection.product, "problem": None}
    found: list[DatasetSummary] = []
    try:
        async with open_connector(connection, CallBudget(connection.api_share)) as connector:
            found = await connector.check()
    except CollectorError as error:
        report["problem"] = str(error)
    report["readable"] = [summary.name for summary in found if summary.state is DatasetState.OK]
    report["missing"] = [line for summary in found for line in _missing(connection, summary)]
    return report


def _missing(connection: Connection, summary: DatasetSummary) -> list[dict[str, Any]]:
    lines = []
    if summary.state is not DatasetState.OK and summary.error:
        lines.append(_missing_line(connection, summary, None, summary.error.model_dump(mode="json"), summary.state))
    for field in summary.missing_fields:
        error = field.error.model_dump(mode="json")
        lines.append(_missing_line(connection, summary, field.field, error, field.state))
    return lines


def _missing_line(
    connection: Connection, summary: DatasetSummary, field: str | None, error: dict[str, Any], state: DatasetState
) -> dict[str, Any]:
    controls = _controls_reading(connection.product, summary.name, field)
    return {
        "dataset": summary.name,
        "field": field,
        "state": state,
        "message": error["message"],
        "permission": error["permission"],
        "remedy": error["remedy"],
        "controls": [name for name, _ in controls],
        "points": sum(points for _, points in controls),
    }


def _index() -> dict[str, Any]:
    """The generated index of the control catalogue."""
    path = data_folder() / "generated" / "control-index.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _controls_reading(product: str, dataset: str, field: str | None) -> list[tuple[str, float]]:
    """The controls that read a dataset (or one field of it) and their points, from the generated index."""
    index = _index()
    fields = index["datasets"].get(product, {}).get(dataset, {})
    named = fields.get(field, []) if field else [control for controls in fields.values() for control in controls]
    return [(control, index["controls"][control]["points"]) for control in sorted(set(named))]


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)


def _print_check(reports: list[dict[str, Any]]) -> None:
    console = _console()
    for report in reports:
        console.print(f"[bold]{report['instance']}[/bold] ({report['product']})")
        if report["problem"]:
            console.print(f"  {report['problem']}", markup=False, highlight=False)
            continue
        console.print(f"  reads {', '.join(report['readable']) or 'nothing'}", highlight=False)
        if not report["missing"]:
            console.print("  nothing is missing", style="green")
            continue
        table = Table("not readable", "state", "grant", "controls", "points")
        for line in report["missing"]:
            name = f"{line['dataset']}.{line['field']}" if line["field"] else line["dataset"]
            grant = f"{line['permission']}: {line['remedy']}" if line["permission"] else line["message"]
            table.add_row(name, line["state"], grant, str(len(line["controls"])), f"{line['points']:g}")
        console.print(table)
