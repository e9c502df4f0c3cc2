"""Memory and time on a 100,000-user org against a 1,000-user org: the commands and the services."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plumbline_contracts.events import Product
from plumbline_local.kafka import KafkaBroker

from tests.bench.figures import Figure, Section
from tests.bench.orgs import Orgs
from tests.bench.processes import Usage, run, service
from tests.bench.topics import evaluations, fresh_topics

REPETITIONS = 2
SERVICE_REPETITIONS = 1
RATIO_LIMIT = 1.5
WITHIN_SECONDS = 300.0

ABOUT_COMMANDS = """\
`collector snapshot` reads a whole simulated org, with three permission set assignments or roles to each user, over
HTTP into a file; `evaluator evaluate` judges that file.
Peak resident memory is what the operating system reports of the process when it has ended, the interpreter and
all libraries included. Both sizes run in turns."""
ABOUT_FILES = """\
`evaluator evaluate` on one recorded snapshot whose users stand in it many times over, so that it has 500,000 rows,
against the snapshot as it was recorded. Peak resident memory as above. Memory is flat when the ratio is near 1: the
exposed entities are counted, and none is kept."""
MANY_ROWS = 500_000
ABOUT_SERVICES = """\
One collector and one evaluator process, started on an empty topic prefix, read, publish and judge one org of each
product; then they are stopped and the operating system is asked for their peak resident memory. Measured once, the
two sizes side by side and not in turns: memory does not depend on how long it takes. The collector reads both orgs
at the same time, as it would."""


@dataclass(frozen=True)
class Command:
    """What the two commands used on one org."""

    snapshot: Usage
    calls: int
    size_mb: float
    evaluate: Usage


def measure_commands(small: Orgs, large: Orgs, scratch: Path) -> Section:
    """`collector snapshot` and `evaluator evaluate` at both sizes, in turns."""
    figures, remarks = [], []
    for product in Product:
        pairs = [(_commands(large, product, scratch), _commands(small, product, scratch)) for _ in range(REPETITIONS)]
        figures += _of_commands(product, pairs, small, large)
        remarks += [
            f"{product}, {orgs.users:,} users: {used.calls} calls of the API, a file of {used.size_mb:.1f} MB"
            for orgs, used in zip((large, small), pairs[0], strict=True)
        ]
    return Section("Commands, by size of the org", ABOUT_COMMANDS, figures, remarks)


def _commands(orgs: Orgs, product: Product, scratch: Path) -> Command:
    file = scratch / "sized.snapshot"
    before = orgs.calls(product)
    snapshot = orgs.snapshot(product, file)
    calls = orgs.calls(product) - before
    evaluate = run(["evaluator", "evaluate", f"--snapshot={file}"], scratch=scratch)
    return Command(snapshot, calls, file.stat().st_size / 1e6, evaluate)


def measure_files(files: dict[Product, Path], scratch: Path) -> Section:
    """`evaluator evaluate` on files with 500,000 rows, against those that they were made of."""
    figures = []
    for product, file in files.items():
        large = scratch / "many-rows.snapshot"
        rows = _multiply(file, large)
        sides = [
            [run(["evaluator", "evaluate", f"--snapshot={path}"], scratch=scratch).peak_mb for path in (large, file)]
            for _ in range(REPETITIONS)
        ]
        ours, theirs = map(list, zip(*sides, strict=True))
        name = f"evaluate: memory, {product}, {rows:,} rows"
        figures.append(Figure(name, "MB", ours, theirs, "the snapshot as recorded", RATIO_LIMIT, "ratio"))
        large.unlink()
    return Section("A file of 500,000 rows", ABOUT_FILES, figures, [])


def _multiply(file: Path, out: Path) -> int:
    """Write the snapshot with its chunks of users as often as makes 500,000 rows; how many rows it has."""
    *chunks, completed = [json.loads(line) for line in file.read_text().splitlines()]
    users = [chunk for chunk in chunks if chunk["dataset"] == "users"]
    times = -(-MANY_ROWS // sum(len(chunk["rows"]) for chunk in users))
    chunks += users * (times - 1)
    summary = next(dataset for dataset in completed["datasets"] if dataset["name"] == "users")
    summary["row_count"] *= times
    summary["chunk_count"] *= times
    with out.open("w") as lines:
        for sequence, record in enumerate(chunks):
            lines.write(json.dumps({**record, "sequence": sequence}, separators=(",", ":")) + "\n")
        lines.write(json.dumps(completed, separators=(",", ":")) + "\n")
    return sum(len(chunk["rows"]) for chunk in chunks)


def _of_commands(product: Product, pairs: Sequence[tuple[Command, Command]], small: Orgs, large: Orgs) -> list[Figure]:
    name, reference = f"{product}, {large.users:,} users", f"{small.users:,} users"

    def memory(command: str) -> Figure:
        ours, theirs = ([getattr(side, command).peak_mb for side in sides] for sides in zip(*pairs, strict=True))
        return Figure(f"{command}: memory, {name}", "MB", ours, theirs, reference, RATIO_LIMIT, "ratio")

    def duration(command: str) -> Figure:
        ours, theirs = ([getattr(side, command).seconds for side in sides] for sides in zip(*pairs, strict=True))
        return Figure(f"{command}: time, {name}", "s", ours, theirs, reference)

    return [make(command) for command in ("snapshot", "evaluate") for make in (memory, duration)]


def measure_services(started: KafkaBroker, small: Orgs, large: Orgs, scratch: Path) -> Section:
    """Both services at both sizes, side by side: their memory does not depend on how long they take."""
    pairs = [asyncio.run(_side_by_side(started, (large, small), scratch)) for _ in range(SERVICE_REPETITIONS)]
    reference = f"{small.users:,} users"
    figures = [
        Figure(
            f"{name}: memory, {large.users:,} users",
            "MB",
            [pair[0][name].peak_mb for pair in pairs],
            [pair[1][name].peak_mb for pair in pairs],
            reference,
            RATIO_LIMIT,
            "ratio",
        )
        for name in ("collector", "evaluator")
    ]
    return Section("Services, by size of the org", ABOUT_SERVICES, figures)


async def _side_by_side(started: KafkaBroker, sizes: Sequence[Orgs], scratch: Path) -> list[dict[str, Usage]]:
    return await asyncio.gather(*(_services(started, orgs, scratch) for orgs in sizes))


async def _services(started: KafkaBroker, orgs: Orgs, scratch: Path) -> dict[str, Usage]:
    settings = await asyncio.to_thread(fresh_topics, started)
    spool = {
        "PLUMBLINE_CONNECTIONS": str(orgs.connections),
        "PLUMBLINE_COLLECTOR_SPOOL_DIR": str(orgs.connections.parent / "spool"),
    }
    with (
        service(["evaluator", "run"], settings, scratch) as evaluator,
        service(["collector", "run"], settings, scratch, **spool) as collector,
    ):
        async with evaluations(settings) as results:
            await results.wait(len(Product), within_seconds=WITHIN_SECONDS)
        return {
            "collector": await asyncio.to_thread(collector.stop),
            "evaluator": await asyncio.to_thread(evaluator.stop),
        }
