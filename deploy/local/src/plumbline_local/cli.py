"""The command `plumbline`: the embedded stack."""

import json
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.table import Table

from plumbline_local.jars import JarsError, classpath
from plumbline_local.layout import BIN, TOPIC_PREFIX, Home
from plumbline_local.logs import follow, last_lines
from plumbline_local.plan import DEFAULT_USERS, StackError, StackPlan
from plumbline_local.ports import DEFAULT_PORT_BASE
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
    port_base: Annotated[
        int | None, typer.Option(min=1024, max=65500, help=f"The first of the ports; default {DEFAULT_PORT_BASE}")
    ] = None,
    simulators: Annotated[bool, typer.Option(help="Start the simulated orgs")] = True,
    users: Annotated[
        int | None, typer.Option(min=1, help=f"How many users each simulated org has; default {DEFAULT_USERS}")
    ] = None,
) -> None:
    """Start everything, wait for the first evaluation, print the Secure Score, and leave it running."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    progress, stack = Progress(), Stack(home)
    try:
        made = stack.up(connections, port_base, simulators=simulators, users=users, tell=progress.tell)
        progress.stop()
        _print_scores(stack, made)
        for line in places(stack.home, made):
            typer.echo(line)
    except StackError as error:
        progress.stop()
        raise _fail(str(error)) from error
    except KeyboardInterrupt as error:
        progress.stop()
        raise _fail("interrupted; what this start had begun was stopped") from error
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
    for name in stack.unread(made):
        typer.echo(
            f"{name} is still being read for the first time; see `plumbline status` and `plumbline logs collector`"
        )
    if not any(made.instances.values()):
        typer.echo("There are no instances; connect some with `plumbline up --connections FILE`.")


def places(home: Home, made: StackPlan) -> Iterator[str]:
    """Where to go on, as lines: addresses, the key of every tenant, and a command to try."""
    yield f"API        {made.api_url}   {_key_place(home, made, made.tenants[0])}"
    yield from (f"           {_key_place(home, made, tenant)}" for tenant in made.tenants[1:])
    yield f"Kafka      {made.kafka_bootstrap}   topics: {TOPIC_PREFIX}*"
    yield f"MongoDB    {made.mongodb_url}"
    yield from (f"Simulator  {url}   {instance}" for instance, url in made.simulators.items())
    header = f'"Authorization: Bearer $(cat {shlex.quote(str(home.key_file(made.tenants[0])))})"'
    yield f"Ask        curl -H {header} {made.api_url}/v1/recommendations"
    if made.simulators:
        command = shlex.quote(str(BIN / "plumbline"))
        place = "" if home.path == HOME.resolve() else f" --home {shlex.quote(str(home.path))}"
        yield f"Change     {command} simulate set salesforce-demo requireHttpOnly true{place}"
        yield f"           {command} status{place}"


def _key_place(home: Home, made: StackPlan, tenant: str) -> str:
    whose = f"key of {tenant}" if len(made.tenants) > 1 else "key"
    return f"{whose}: {home.key_file(tenant)}"


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
    """Stop everything, also a start under way. State stays in the home folder."""
    try:
        typer.echo("stopped" if Stack(home).down() else "nothing was running")
    except StackError as error:
        raise _fail(str(error)) from error


def _document(stack: Stack, made: StackPlan) -> dict[str, Any]:
    running, is_supervised = stack.running, stack.supervisor is not None
    waiting = "backoff" if is_supervised else "stopped"
    return {
        "api_url": made.api_url,
        "api_key_file": str(stack.home.key_file(made.tenants[0])),
        "kafka_bootstrap": made.kafka_bootstrap,
        "topic_prefix": TOPIC_PREFIX,
        "mongodb_url": made.mongodb_url,
        "simulators": made.simulators,
        "processes": [
            {
                "name": name,
                "pid": running[name].pid if name in running else None,
                "state": "running" if name in running else waiting,
            }
            for name in made.process_names
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
        raise _fail(_without_plan(stack))
    document = _document(stack, made)
    if as_json:
        typer.echo(json.dumps(document, indent=2))
        return
    table = Table("process", "state", "pid")
    for process in document["processes"]:
        table.add_row(process["name"], process["state"], str(process["pid"] or ""))
    _console().print(table)
    if stack.supervisor is None:
        left = "nobody watches over what still runs" if stack.running else "the stack is stopped"
        raise _fail(f"{left}; start it with `plumbline up` (`make up`)")
    try:
        _print_scores(stack, made)
    except StackError as error:
        raise _fail(str(error)) from error


def _without_plan(stack: Stack) -> str:
    if stack.running:
        return f"{stack.home.plan_file} is missing or damaged; `plumbline down` stops the stack all the same"
    return f"no stack in {stack.home.path}; start one with `plumbline up` (`make up`)"


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="A process; all when left out")] = None,
    home: HomeOption = HOME,
    lines: Annotated[int, typer.Option(min=1, help="How many of the last lines")] = 40,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted")] = False,
) -> None:
    """Show what the processes wrote."""
    folder = Stack(home).home.logs
    files = {file.stem: file for file in sorted(folder.glob("*.log"))}
    chosen = [file for known, file in files.items() if name in (None, known)]
    if not chosen:
        raise _fail(f"no log {name or ''} in {folder}; there are: {', '.join(files) or 'none'}")
    for file in chosen:
        typer.echo(f"==> {file}")
        for line in last_lines(file, lines):
            typer.echo(line)
    if following:
        for added in follow(chosen):
            typer.echo(added, nl=False)


@app.command()
def install() -> None:
    """Fetch and verify what the stack needs besides Python packages: Apache Kafka's jars."""
    progress = Progress()
    progress.tell("verifying Apache Kafka")
    try:
        jars = classpath(tell=progress.tell)
    except JarsError as error:
        raise _fail(str(error)) from error
    finally:
        progress.stop()
    typer.echo(f"{len(jars)} jars are there and match their checksums")


def _simulator(home: Path, instance: str) -> str:
    """The URL of a simulated org of the running stack."""
    stack = Stack(home)
    made = stack.plan
    if made is None or not stack.running:
        raise _fail(f"the stack in {stack.home.path} does not run; start it with `plumbline up` (`make up`)")
    if instance not in made.simulators:
        raise _fail(f"no simulated instance {instance}; there are: {', '.join(made.simulators) or 'none'}")
    return made.simulators[instance]


def _control(method: str, url: str, body: Any = None) -> Any:  # noqa: ANN401 - JSON
    try:
        answer = httpx.request(method, url, json=body, timeout=10, trust_env=False)
        document = answer.json() if answer.content else {}
    except (httpx.HTTPError, ValueError) as error:
        raise _fail(f"the simulator does not answer at {url}: {error}") from error
    if answer.is_error:
        raise _fail(document.get("error", f"HTTP {answer.status_code}"))
    return document


@simulate_app.command("set")
def simulate_set(
    instance: str,
    setting: str,
    value: Annotated[str, typer.Argument(help="`null` deletes a ServiceNow property")],
    home: HomeOption = HOME,
) -> None:
    """Change a setting, as an administrator would. It is kept when the simulator is started again.

    The change watch notices it within seconds. `plumbline simulate get INSTANCE` shows all settings.
    """
    url = f"{_simulator(home, instance)}/__simulator/settings/{quote(setting, safe='')}"
    changed = _control("PUT", url, {"value": None if value == "null" else value})
    typer.echo(
        f"{instance}: {changed['name']} is now {json.dumps(changed['value'])}; "
        "the score follows within seconds (`plumbline status`)"
    )


@simulate_app.command("get")
def simulate_get(
    instance: str, setting: Annotated[str | None, typer.Argument()] = None, home: HomeOption = HOME
) -> None:
    """Show the settings of a simulated org, or those whose name contains SETTING."""
    settings = _control("GET", f"{_simulator(home, instance)}/__simulator/state")["settings"]
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
    times: Annotated[int, typer.Option(min=-1, help="How often; -1: always")] = -1,
    seconds: Annotated[float, typer.Option(min=0, help="How long `slow` waits")] = 5.0,
    phase: Annotated[str, typer.Option(help="any, token, first, middle or last: which requests of a reading")] = "any",
    home: HomeOption = HOME,
) -> None:
    """Make a simulated org fail as the real one would, or well again. A restarted simulator is well."""
    fault = {"kind": kind, "match": match, "times": times, "seconds": seconds, "phase": phase}
    faults = [] if kind == "none" else [fault]
    _control("PUT", f"{_simulator(home, instance)}/__simulator/faults", faults)
    typer.echo(f"{instance}: {'no faults' if kind == 'none' else kind}")


@simulate_app.command("faults")
def simulate_faults(instance: str, home: HomeOption = HOME) -> None:
    """Every kind of fault and what it does; those that are on now stand first."""
    found = _control("GET", f"{_simulator(home, instance)}/__simulator/faults")
    for fault in found["faults"]:
        typer.echo(f"on: {json.dumps(fault)}")
    for kind, effect in found["kinds"].items():
        typer.echo(f"{kind:18} {effect}")
