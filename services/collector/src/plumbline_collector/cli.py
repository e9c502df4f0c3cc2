"""The command `collector`."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Coroutine
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from plumbline_contracts import ids, logs
from plumbline_contracts.events import DatasetState, RequestReason
from plumbline_contracts.kafka import KafkaSettings
from pydantic import ValidationError

from plumbline_collector import collection, connections, reports
from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection, ConnectionsError
from plumbline_collector.connectors import open_connector
from plumbline_collector.errors import CollectorError
from plumbline_collector.forecast import Forecast, forecast
from plumbline_collector.rights import NOT_THERE, Unread, control_index, missing_rights, unread
from plumbline_collector.settings import Settings
from plumbline_collector.spool import SpoolError

app = typer.Typer(no_args_is_help=True, help="Reads the security configuration of Salesforce and ServiceNow.")

ConnectionsFile = Annotated[
    Path, typer.Option("--connections", envvar="PLUMBLINE_CONNECTIONS", help="The connections file")
]
NOTHING_READ = 3
"""Exit status of a snapshot that was written and of which no dataset could be read."""
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
    """Record a snapshot of one instance into a file, without a broker.

    Exit status 0: written, and something was read. 1: nothing written. 2: wrong file or arguments. 3: written, and no
    dataset could be read.
    """
    try:
        connection = connections.choose(_load(connections_file), instance)
    except ConnectionsError as error:
        raise _fail(str(error), 2) from error
    draft, budget = out.with_name(out.name + ".partial"), CallBudget(connection.api_share)
    try:
        spooled = _do(
            collection.collect(
                connection,
                draft,
                request_id=ids.random_id(),
                reason=RequestReason.USER,
                budget=budget,
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
    console = reports.console()
    console.print(reports.snapshot_table(spooled.completed))
    console.print(reports.snapshot_sentence(spooled.completed, budget.state().used_by_us, budget.left), highlight=False)
    typer.echo(f"written to {out}")
    if not any(summary.state in collection.ANSWERED for summary in spooled.completed.datasets):
        raise _fail("no dataset could be read; the table says why", NOTHING_READ)


@app.command()
def lint(connections_file: ConnectionsFile) -> None:
    """Check the connections file, and its parameters against the control catalogue; send nothing."""
    found = _load(connections_file)
    problems = connections.parameter_problems(connections_file, control_index()["controls"])
    if problems:
        raise _fail("\n".join(problems))
    typer.echo(f"{len(found)} connections are well-formed")


@app.command()
def plan(
    connections_file: ConnectionsFile,
    users: Annotated[int, typer.Option(min=0, help="Active users of each org, as far as you know")] = 1000,
    rows: Annotated[
        list[str] | None,
        typer.Option(help="OBJECT=N: how many rows an object or table really has, such as OauthToken=40000"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array")] = False,
) -> None:
    """Say how many API calls each connection will make in one collection and in a day; send nothing."""
    counts = _row_counts(rows or [])
    forecasts = [forecast(connection, users, counts) for connection in _load(connections_file)]
    if as_json:
        typer.echo(json.dumps([_forecast_document(each) for each in forecasts], indent=2))
        return
    console = reports.console()
    console.print(f"For orgs of {users:,} active users, on a day without changes:", highlight=False)
    console.print(reports.plan_table(forecasts))
    for each in forecasts:
        console.print(reports.plan_details(each))


def _row_counts(stated: list[str]) -> dict[str, int]:
    counts = {}
    for text in stated:
        name, _, number = text.partition("=")
        if not name or not (number.isascii() and number.isdigit()):
            raise _fail(f"--rows {text}: expected OBJECT=N, such as OauthToken=40000", 2)
        counts[name] = int(number)
    return counts


def _forecast_document(each: Forecast) -> dict[str, Any]:
    return {
        **asdict(each),
        "calls_per_full_run": each.calls_per_full_run,
        "calls_per_day": each.calls_per_day,
        "daily_limit_needed": each.daily_limit_needed,
    }


@app.command()
def check(
    connections_file: ConnectionsFile,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array")] = False,
) -> None:
    """Try every connection; print what it may read, what it may not, and which permission to grant."""
    found = _do(_check_all(_load(connections_file)))
    if as_json:
        typer.echo(json.dumps([_check_document(report) for report in found], indent=2, ensure_ascii=False))
    else:
        for report in found:
            _print_check(report)
    if any(report.problem or report.unread for report in found):
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Check:
    """What a look at one connection found. `problem`: it does not work at all."""

    connection: Connection
    problem: str | None = None
    readable: list[str] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    not_there: list[Unread] = field(default_factory=list)
    """What the product is proven not to have; nothing is missing there."""


async def _check_all(chosen: list[Connection]) -> list[_Check]:
    return [await _check(connection) for connection in chosen]


async def _check(connection: Connection) -> _Check:
    try:
        budget = CallBudget(connection.api_share)
        with collection.understood(connection):
            async with open_connector(connection, budget, is_lenient=True) as connector:
                found = await connector.check()
    except CollectorError as error:
        return _Check(connection, problem=str(error))
    readable = [summary.name for summary in found if summary.state is DatasetState.OK]
    lines = unread(connection.product, found)
    return _Check(
        connection,
        readable=readable,
        unread=[line for line in lines if line.state not in NOT_THERE],
        not_there=[line for line in lines if line.state in NOT_THERE],
    )


def _check_document(report: _Check) -> dict[str, Any]:
    return {
        "instance": report.connection.key,
        "product": report.connection.product,
        "problem": report.problem,
        "readable": report.readable,
        "missing": [asdict(line) for line in report.unread],
        "not_there": [asdict(line) for line in report.not_there],
        "grant": [asdict(right) for right in missing_rights(report.unread)],
    }


def _print_check(report: _Check) -> None:
    console = reports.console()
    console.print(f"[bold]{report.connection.key}[/bold] ({report.connection.product})")
    if report.problem:
        console.print(f"  {report.problem}", markup=False, highlight=False)
        return
    console.print(f"  reads {', '.join(report.readable) or 'nothing'}", highlight=False)
    for line in report.not_there:
        console.print(f"  does not have {line.name}: {line.message}", markup=False, highlight=False)
    if not report.unread:
        console.print("  nothing is missing", style="green")
        return
    if rights := missing_rights(report.unread):
        console.print(reports.rights_table(rights))
        for place in reports.places(rights):
            console.print(f"  grant: {place}", markup=False, highlight=False)
    if others := [line for line in report.unread if not line.permission]:
        console.print(reports.others_table(others))
    console.print(reports.cost_sentence(report.unread), highlight=False)
