"""The command `plumbline`: the embedded stack."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from plumbline_local.jars import JarsError, classpath
from plumbline_local.layout import DEFAULT_PORT_BASE, TOPIC_PREFIX
from plumbline_local.plan import StackError, StackPlan
from plumbline_local.stack import Stack

app = typer.Typer(no_args_is_help=True, help="Plumbline on one machine: a real broker, a real database, every service.")
simulate_app = typer.Typer(no_args_is_help=True, help="The simulated orgs of the running stack.")
app.add_typer(simulate_app, name="simulate")

HomeOption = Annotated[Path, typer.Option("--home", help="Where the stack keeps its state")]
HOME = Path(".local")
TOP = 5


def _fail(message: str) -> typer.Exit:
    typer.echo(f"plumbline: {message}", err=True)
    return typer.Exit(1)


class Progress:
    """What happens, as a spinner on a terminal and as plain lines elsewhere."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status = self._console.status("") if self._console.is_terminal else None
        self._began = time.monotonic()

    def tell(self, text: str) -> None:
        """A step begins."""
        line = f"[{time.monotonic() - self._began:5.1f} s] {text}"
        if self._status is None:
            typer.echo(line, err=True)
            return
        self._status.update(line)
        self._status.start()

    def stop(self) -> None:
        """The last step is done."""
        if self._status is not None:
            self._status.stop()


@app.command()
def up(
    connections: Annotated[Path | None, typer.Option(help="Real instances instead of the simulated orgs")] = None,
    home: HomeOption = HOME,
    port_base: Annotated[int, typer.Option(min=1024, max=65500, help="The first of the ports")] = DEFAULT_PORT_BASE,
    simulators: Annotated[bool, typer.Option(help="Start the simulated orgs")] = True,
) -> None:
    """Start everything, wait for the first evaluation, print the Secure Score, and leave it running."""
    progress, stack = Progress(), Stack(home)
    try:
        made = stack.up(port_base, connections, simulators=simulators, tell=progress.tell)
        progress.stop()
        _print_scores(stack, made)
    except StackError as error:
        progress.stop()
        raise _fail(str(error)) from error
    finally:
        progress.stop()


def _print_scores(stack: Stack, made: StackPlan) -> None:
    for tenant in made.tenants:
        score = stack.ask(made, "/v1/secure-score", tenant)
        table = Table("product", "Secure Score", "points", "coverage", "main instance", title=f"tenant {tenant}")
        for line in [*score["products"], {**score, "product": "all", "main_instance": None}]:
            table.add_row(
                line["product"],
                f"{line['percentage']:.1f} %",
                f"{line['current']:g} of {line['max']:g}",
                f"{line['coverage']:.1f} %",
                line["main_instance"] or "",
            )
        _console().print(table)
        _print_recommendations(stack, made, tenant)
        _print_failures(stack, made, tenant)
    first = made.tenants[0]
    control = "/v1/recommendations"
    typer.echo(f"API        {made.api_url}   key: {stack.home.key_file(first)}")
    typer.echo(f"Kafka      {made.kafka_bootstrap}   topics: {TOPIC_PREFIX}*")
    typer.echo(f"MongoDB    {made.mongodb_url}")
    for instance, url in made.simulators.items():
        typer.echo(f"Simulator  {url}   {instance}")
    typer.echo(
        f'Ask        curl -H "Authorization: Bearer $(cat {stack.home.key_file(first)})" {made.api_url}{control}'
    )
    if made.has_simulators:
        typer.echo(
            "Change     .venv/bin/plumbline simulate set salesforce-demo requireHttpOnly true   (then: make status)"
        )


def _print_recommendations(stack: Stack, made: StackPlan, tenant: str) -> None:
    found = stack.ask(made, "/v1/recommendations", tenant, outcome=["FAIL", "PARTIAL", "UNKNOWN"], limit=TOP)
    table = Table("rank", "top recommendations", "instance", "points left", "severity", "outcome")
    for item in found["items"]:
        rank, left = str(item["rank"]), f"{item['points_left']:g}"
        table.add_row(rank, item["title"], item["instance"], left, item["severity"], item["outcome"])
    if found["items"]:
        _console().print(table)


def _print_failures(stack: Stack, made: StackPlan, tenant: str) -> None:
    for instance in stack.ask(made, "/v1/instances", tenant)["items"]:
        if instance["health"] not in ("healthy", "pending"):
            typer.echo(f"{instance['instance']} is {instance['health']}: {instance['message']}")


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 120)


@app.command()
def down(home: HomeOption = HOME) -> None:
    """Stop everything. State stays in the home folder."""
    typer.echo("stopped" if Stack(home).down() else "nothing was running")


def _document(stack: Stack, made: StackPlan) -> dict[str, Any]:
    state = stack.state
    planned = [process.name for stage in made.stages for process in stage]
    running = {process.name: process for process in state.processes} if state else {}
    return {
        "api_url": made.api_url,
        "api_key_file": str(stack.home.key_file(made.tenants[0])) if made.tenants else None,
        "kafka_bootstrap": made.kafka_bootstrap,
        "topic_prefix": TOPIC_PREFIX,
        "mongodb_url": made.mongodb_url,
        "simulators": made.simulators,
        "processes": [
            {
                "name": name,
                "pid": running[name].pid if name in running else None,
                "state": running[name].state if name in running else "stopped",
                "restarts": running[name].restarts if name in running else 0,
            }
            for name in planned
        ],
    }


@app.command()
def status(
    home: HomeOption = HOME, as_json: Annotated[bool, typer.Option("--json", help="For scripts")] = False
) -> None:
    """Say what runs, and the scores."""
    stack = Stack(home)
    made = stack.plan
    if made is None:
        raise _fail(f"no stack in {stack.home.path}; start one with `make up`")
    document = _document(stack, made)
    if as_json:
        typer.echo(json.dumps(document, indent=2))
        return
    table = Table("process", "state", "pid", "restarts")
    for process in document["processes"]:
        table.add_row(process["name"], process["state"], str(process["pid"] or ""), str(process["restarts"]))
    _console().print(table)
    if stack.state is None:
        raise _fail("the stack is stopped; start it with `make up`")
    try:
        _print_scores(stack, made)
    except StackError as error:
        raise _fail(str(error)) from error


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="A process; all when left out")] = None,
    home: HomeOption = HOME,
    lines: Annotated[int, typer.Option(min=1, help="How many of the last lines")] = 40,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted")] = False,
) -> None:
    """Show what the processes wrote."""
    folder = Stack(home).home.logs
    files = sorted(folder.glob(f"{name or '*'}.log"))
    if not files:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none"
        raise _fail(f"no log {name or ''} in {folder}; there are: {known}")
    for file in files:
        typer.echo(f"==> {file}")
        for line in file.read_text(errors="replace").splitlines()[-lines:]:
            typer.echo(line)
    if follow:
        _follow(files)


def _follow(files: list[Path]) -> None:
    positions = {file: file.stat().st_size for file in files}
    while True:
        for file, position in positions.items():
            with file.open("rb") as content:
                content.seek(position)
                sys.stdout.write(content.read().decode(errors="replace"))
                positions[file] = content.tell()
        sys.stdout.flush()
        time.sleep(0.3)


@app.command()
def install() -> None:
    """Fetch and verify what the stack needs besides Python packages: Apache Kafka's jars."""
    progress = Progress()
    progress.tell("fetching and verifying Apache Kafka")
    try:
        jars = classpath()
    except JarsError as error:
        raise _fail(str(error)) from error
    finally:
        progress.stop()
    typer.echo(f"{len(jars)} jars are there and match their checksums")


def _simulator(home: Path, instance: str) -> tuple[Stack, StackPlan, str]:
    stack = Stack(home)
    made = stack.plan
    if made is None or stack.state is None:
        raise _fail("the stack does not run; start it with `make up`")
    if instance not in made.simulators:
        raise _fail(f"no simulated instance {instance}; there are: {', '.join(made.simulators) or 'none'}")
    return stack, made, made.simulators[instance]


def _control(method: str, url: str, body: Any = None) -> Any:  # noqa: ANN401 - JSON
    try:
        answer = httpx.request(method, url, json=body, timeout=10, trust_env=False)
    except httpx.HTTPError as error:
        raise _fail(f"the simulator does not answer at {url}: {error}") from error
    document = answer.json() if answer.content else {}
    if answer.is_error:
        nearest = document.get("nearest") or document.get("kinds") or []
        hint = f"; did you mean {', '.join(nearest)}?" if nearest else ""
        raise _fail(f"{document.get('error', f'HTTP {answer.status_code}')}{hint}")
    return document


@simulate_app.command("set")
def simulate_set(
    instance: str,
    setting: str,
    value: Annotated[str, typer.Argument(help="`null` deletes a ServiceNow property")],
    home: HomeOption = HOME,
) -> None:
    """Change a setting, as an administrator would. The change watch notices it within seconds."""
    _, _, url = _simulator(home, instance)
    _control("PUT", f"{url}/__simulator/settings/{setting}", {"value": None if value == "null" else value})
    typer.echo(f"{instance}: {setting} is now {value}; the score follows within seconds (`make status`)")


@simulate_app.command("get")
def simulate_get(
    instance: str, setting: Annotated[str | None, typer.Argument()] = None, home: HomeOption = HOME
) -> None:
    """Show the settings of a simulated org, or one of them."""
    _, _, url = _simulator(home, instance)
    settings = _control("GET", f"{url}/__simulator/state")["settings"]
    chosen = {name: value for name, value in settings.items() if setting is None or setting in name}
    if not chosen:
        raise _fail(f"no setting {setting}; `plumbline simulate get {instance}` shows all")
    for name, value in sorted(chosen.items()):
        typer.echo(f"{name} = {json.dumps(value)}")


@simulate_app.command("fault")
def simulate_fault(
    instance: str,
    kind: Annotated[str, typer.Argument(help="Such as 429, 503_html, expired_token, broken_json, hibernation; `none`")],
    match: Annotated[str, typer.Option(help="Only requests whose path and query contain this")] = "",
    times: Annotated[int, typer.Option(help="How often; -1: always")] = -1,
    home: HomeOption = HOME,
) -> None:
    """Make a simulated org fail as the real one would, or well again."""
    _, _, url = _simulator(home, instance)
    faults = [] if kind == "none" else [{"kind": kind, "match": match, "times": times}]
    _control("PUT", f"{url}/__simulator/faults", faults)
    typer.echo(f"{instance}: {'no faults' if kind == 'none' else kind}")
