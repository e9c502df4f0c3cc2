"""The command `evaluator`."""

import json
import os
import sys
from pathlib import Path
from textwrap import shorten
from typing import Annotated

import typer
from plumbline_contracts.events import ControlResult, ExposedEntities, Outcome
from plumbline_contracts.kafka import KafkaSettings
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plumbline_evaluator import casework, mutation
from plumbline_evaluator.catalogue import versions
from plumbline_evaluator.catalogue.loading import FRAMEWORKS, HEADER, Catalogue, CatalogueError, load, nothing_in
from plumbline_evaluator.catalogue.location import default_folder
from plumbline_evaluator.catalogue.model import Control
from plumbline_evaluator.catalogue.schema import schema_text
from plumbline_evaluator.index import build_index
from plumbline_evaluator.judging.evaluation import Evaluation
from plumbline_evaluator.pages import control_pages
from plumbline_evaluator.pages.folder import differences, write_folder
from plumbline_evaluator.scoring import score
from plumbline_evaluator.settings import Settings
from plumbline_evaluator.sources import SnapshotError, SnapshotSource
from plumbline_evaluator.sources.file import SnapshotFile

app = typer.Typer(no_args_is_help=True, help="Judges configuration snapshots against the control catalogue.")
controls_app = typer.Typer(no_args_is_help=True, help="The control catalogue.")
app.add_typer(controls_app, name="controls")

MUTANTS_NOTICED = 0.95
"""The part of all mutants that the cases of a catalogue must notice."""

Controls = Annotated[
    Path | None, typer.Option(help="Folder of the catalogue; default PLUMBLINE_CONTROLS or the one shipped")
]


def _fail(message: str, code: int = 1) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(code)


Custom = Annotated[
    Path | None,
    typer.Option(envvar="PLUMBLINE_CUSTOM_CONTROLS", help="Folder of your own controls and overrides, on top of these"),
]


Check = Annotated[bool, typer.Option("--check", help="Write nothing; fail when a file is not current")]


def _load(folder: Path | None, custom: Path | None = None, *, with_overrides: bool = True) -> Catalogue:
    try:
        catalogue = load(folder or default_folder(), custom, with_overrides=with_overrides)
    except CatalogueError as error:
        count = len(error.problems)
        raise _fail(f"{error}\n{count} problem{'s' if count > 1 else ''} in the catalogue") from error
    if custom is not None and (said := nothing_in(custom)):
        raise _fail(said)
    return catalogue


def _chosen(catalogue: Catalogue, ids: list[str]) -> list[Control]:
    by_name = {name: c for c in catalogue.controls.values() for name in (c.id, *c.aliases)}
    if unknown := [name for name in ids if name not in by_name]:
        raise _fail(f"no control {', '.join(unknown)}; `evaluator controls list` shows all")
    return [by_name[name] for name in ids] if ids else list(catalogue.controls.values())


@app.command()
def run() -> None:
    """Judge every snapshot that arrives on `config-snapshots`, until stopped."""
    from plumbline_evaluator.app import main

    try:
        settings, kafka = Settings(), KafkaSettings()
    except ValidationError as error:
        raise _fail("\n".join(_settings_problems(error)), 2) from error
    try:
        status = main(settings, kafka)
    except CatalogueError as error:
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
        lines.append(f"evaluator: {place}{problem['msg'].removeprefix('Value error, ')}")
    return lines


@controls_app.command()
def lint(
    folder: Annotated[
        Path | None, typer.Argument(help="A whole catalogue, or a folder of your own controls on top of the shipped")
    ] = None,
    controls: Controls = None,
    custom: Custom = None,
) -> None:
    """Check format, types and references of every control; a line `file:line: what is wrong` for each mistake."""
    if folder is not None and not folder.is_dir():
        raise _fail(f"{folder} is no folder; name a catalogue, or a folder of your own controls")
    if folder is not None and (folder / HEADER).is_file():
        controls = folder
    elif folder is not None:
        custom = folder
    catalogue = _load(controls, custom)
    typer.echo(f"{len(catalogue.controls)} controls are well-formed (generation {catalogue.generation})")


@controls_app.command("test")
def run_cases(
    ids: Annotated[list[str] | None, typer.Argument()] = None, controls: Controls = None, custom: Custom = None
) -> None:
    """Run the cases of all controls, or of those named."""
    chosen = _chosen(_load(controls, custom, with_overrides=False), ids or [])
    failures = [failure for control in chosen for failure in casework.run_cases(control)]
    for failure in failures:
        typer.echo(f"{failure.control}: {failure.case}: {failure.message}", err=True)
    cases = sum(len(control.cases) for control in chosen)
    typer.echo(f"{cases} cases of {len(chosen)} controls, {len(failures)} failed")
    raise typer.Exit(1 if failures else 0)


@controls_app.command()
def mutate(
    ids: Annotated[list[str] | None, typer.Argument()] = None, controls: Controls = None, custom: Custom = None
) -> None:
    """Change every control in one place at a time; its cases must notice. Prints the changes that none noticed."""
    killed, survived = 0, 0
    for control in _chosen(_load(controls, custom, with_overrides=False), ids or []):
        verdicts = mutation.trial(control)
        killed, survived = killed + verdicts.killed, survived + len(verdicts.survivors)
        for change in verdicts.survivors:
            typer.echo(f"{control.id}: {change}: no case notices", err=True)
    total = killed + survived
    typer.echo(f"{killed} of {total} mutants noticed ({100 * killed / max(total, 1):.1f} %)")
    raise typer.Exit(1 if killed < MUTANTS_NOTICED * total else 0)


@controls_app.command("list")
def list_controls(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array of whole controls")] = False,
    controls: Controls = None,
    custom: Custom = None,
) -> None:
    """List the controls."""
    catalogue = _load(controls, custom)
    if as_json:
        documents = [control.model_dump(mode="json", by_alias=True) for control in catalogue.controls.values()]
        typer.echo(json.dumps(documents, indent=2, ensure_ascii=False))
        return
    table = Table("control", "points", "severity", "title", "aliases")
    for control in catalogue.controls.values():
        table.add_row(
            control.id, f"{control.points:g}", control.severity, escape(control.title), ", ".join(control.aliases)
        )
    _console().print(table)


@controls_app.command()
def show(control_id: str, controls: Controls = None, custom: Custom = None) -> None:
    """Show one control, by id or alias."""
    control = _chosen(_load(controls, custom), [control_id])[0]
    console = _console()
    console.print(
        f"[bold]{control.id}[/bold]  {escape(control.title)}  ({control.points:g} points, {control.severity})"
    )
    console.print(control.description, control.rationale, sep="\n\n", markup=False)
    for number, step in enumerate(control.remediation.steps, start=1):
        console.print(f"  {number}. {step}", markup=False, highlight=False)
    for name, param in control.params.items():
        console.print(f"  {name} = {param.default!r}: {param.description}", markup=False, highlight=False)


@controls_app.command()
def index(
    out: Annotated[Path, typer.Option(help="Where to write it")],
    check: Check = False,
    controls: Controls = None,
) -> None:
    """Write the index from dataset fields to controls."""
    content = json.dumps(build_index(_load(controls)), indent=2, ensure_ascii=False) + "\n"
    _write_generated(out, content, check=check)


@controls_app.command()
def schema(out: Annotated[Path, typer.Option(help="Where to write it")], check: Check = False) -> None:
    """Write the JSON Schema of control files, for editors."""
    _write_generated(out, schema_text(default_folder() / FRAMEWORKS), check=check)


@controls_app.command()
def pages(
    out: Annotated[Path, typer.Option(help="Folder to write them to")], check: Check = False, controls: Controls = None
) -> None:
    """Write the reference pages of all controls."""
    wanted = control_pages(_load(controls))
    if not check:
        write_folder(out, wanted)
    elif problems := differences(out, wanted):
        raise _fail(
            "\n".join([*problems, "run `make generate` and commit the result; delete what is none of the pages"])
        )


@controls_app.command()
def lock(check: Check = False, controls: Controls = None) -> None:
    """Record the version of every control; refuse one that judges otherwise under the same version."""
    folder = controls or default_folder()
    catalogue = _load(folder)
    try:
        record = versions.read(folder / versions.FILE)
    except ValueError as error:
        raise _fail(str(error)) from error
    if problems := list(versions.problems(catalogue.controls.values(), record)):
        raise _fail("\n".join(problems))
    _write_generated(
        folder / versions.FILE, versions.text(versions.updated(catalogue.controls.values(), record)), check=check
    )


def _write_generated(out: Path, content: str, *, check: bool) -> None:
    """Write a generated file or, to check, fail when it is not current."""
    if not check:
        out.write_text(content, encoding="utf-8")
    elif not out.is_file() or out.read_text(encoding="utf-8") != content:
        raise _fail(f"{out} is not current; run `make generate` and commit the result")


@app.command()
def evaluate(
    snapshot: Annotated[Path, typer.Option(help="A file that `collector snapshot` wrote")],
    out: Annotated[Path | None, typer.Option(help="Write the results as NDJSON, one control result a line")] = None,
    controls: Controls = None,
    custom: Custom = None,
) -> None:
    """Judge a recorded snapshot offline; print the score and a table of outcomes."""
    catalogue = _load(controls, custom)
    try:
        source = SnapshotFile(snapshot)
        results = _judge(source, catalogue)
    except SnapshotError as error:
        raise _fail(str(error)) from error
    if out:
        try:
            _write(out, catalogue, results)
        except OSError as error:
            raise _fail(f"{out} cannot be written: {error.strerror}") from error
    _print(source, catalogue, results)


def _judge(source: SnapshotSource, catalogue: Catalogue) -> list[ControlResult]:
    completed = source.completed
    evaluation = Evaluation(catalogue.plans[completed.product], catalogue.digests, completed.parameters)
    for chunk in source.chunks():
        evaluation.take(chunk.dataset, chunk.rows)
    return [item for item in evaluation.conclude(completed.datasets) if not isinstance(item, ExposedEntities)]


def _write(out: Path, catalogue: Catalogue, results: list[ControlResult]) -> None:
    with out.open("w", encoding="utf-8") as lines:
        for result in results:
            control = catalogue.controls[result.control_id]
            line = {
                **result.model_dump(mode="json"),
                "aliases": control.aliases,
                "title": control.title,
                "severity": control.severity,
            }
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")


_COLOURS = {
    Outcome.PASS: "green",
    Outcome.PARTIAL: "yellow",
    Outcome.FAIL: "red",
    Outcome.NOT_APPLICABLE: "dim",
    Outcome.UNKNOWN: "magenta",
}


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)


_TITLE_WIDTH, _OTHER_WIDTH = 40, 52
"""In characters: the widest title; what control, outcome, points and the lines between take at most."""


def _title_width(width: int) -> int:
    return min(_TITLE_WIDTH, width // 5)


def _found(result: ControlResult, width: int) -> str:
    """What was found, led by the reason of an UNKNOWN, cut after about three lines of its column."""
    text = f"{result.reason}: {result.explanation}" if result.reason else result.explanation
    return shorten(text, max(120, 3 * (width - _title_width(width) - _OTHER_WIDTH)), placeholder=" …")


def _table(catalogue: Catalogue, results: list[ControlResult], width: int) -> Table:
    """The results, those that cost most points first."""
    table = Table("control", "outcome", "points")
    table.add_column("title", max_width=_title_width(width))
    table.add_column("what was found", overflow="fold")
    for result in sorted(results, key=lambda result: (result.points - result.max_points, result.control_id)):
        outcome = f"[{_COLOURS[result.outcome]}]{result.outcome}[/]"
        title = escape(catalogue.controls[result.control_id].title)
        points = f"{result.points:g}/{result.max_points:g}"
        table.add_row(result.control_id, outcome, points, title, escape(_found(result, width)))
    return table


def _print(source: SnapshotSource, catalogue: Catalogue, results: list[ControlResult]) -> None:
    completed, total = source.completed, score(results)
    console = _console()
    console.print(_table(catalogue, results, console.width))
    console.print(
        f"{completed.tenant}/{completed.instance} ({completed.product}), "
        f"read {completed.started_at:%Y-%m-%d %H:%M} UTC",
        highlight=False,
    )
    console.print(
        f"Secure Score {total.percentage:.1f} %  ({total.current:g} of {total.possible:g} points), "
        f"coverage {total.coverage:.1f} %",
        highlight=False,
    )
