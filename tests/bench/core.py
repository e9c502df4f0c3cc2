"""The evaluation core against a plain Python loop, on the rows that the collector reads from simulated orgs."""

import gc
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from plumbline_contracts.events import ControlResult, ExposedEntities, Product, Row, SnapshotCompleted
from plumbline_evaluator.catalogue.loading import Catalogue, load
from plumbline_evaluator.catalogue.location import default_folder
from plumbline_evaluator.catalogue.model import Control, CountCheck, RowsCheck
from plumbline_evaluator.judging.evaluation import Evaluation
from plumbline_evaluator.judging.plan import ProductPlan, build_plan
from plumbline_evaluator.sources.file import SnapshotFile

from tests.bench import plain
from tests.bench.figures import Figure, Section

T = TypeVar("T")
Items = list[ControlResult | ExposedEntities]

REPETITIONS = 9
TARGET_PER_SECOND = 100_000

PROPERTIES, PLUGINS = 3_000, 600
"""Rows of a large ServiceNow instance; the simulated one has fewer, and others are added to it."""

ABOUT = """\
How many judgements the pure core makes in one second of one processor core: every row that a control judges
counts once for that control, and every control result counts once; PASS results are kept. The input is a
snapshot of a simulated org with 10,000 users, in ServiceNow with 3,000 properties and 600 plugins, judged by the
whole catalogue of the product with exposed entities listed. The reference is a plain Python loop over the same
rows: population controls as hand-written Python would test them (`row["is_frozen"]`), counting and collecting the
exposed rows, without typed values, UNKNOWN, digests, or any check of what it reads. It has those controls of one
check that Python's operators alone can express and that no row lacks a field for; they are checked to count the
same. Each side is divided by its own number of judgements. Time is processor time of the one thread."""


@dataclass(frozen=True)
class Recorded:
    """A snapshot in memory."""

    completed: SnapshotCompleted
    chunks: list[tuple[str, list[Row]]]

    @property
    def row_count(self) -> int:
        return sum(len(rows) for _, rows in self.chunks)


def measure(files: dict[Product, Path]) -> Section:
    """Both sides in turns, for each product."""
    catalogue = load(default_folder())
    figures, remarks = [], []
    for product, file in files.items():
        source = SnapshotFile(file)
        chunks = [(chunk.dataset, chunk.rows) for chunk in source.chunks()]
        recorded = Recorded(source.completed, chunks + (_padding(chunks) if product is Product.SERVICENOW else []))
        figure, remark = _compare(catalogue, product, recorded)
        figures.append(figure)
        remarks.append(remark)
    return Section("Evaluation core", ABOUT, figures, remarks)


def _padding(chunks: list[tuple[str, list[Row]]]) -> list[tuple[str, list[Row]]]:
    """Properties and plugins that no control names, as many as make a large instance of a small one."""

    def missing(dataset: str, wanted: int) -> range:
        return range(wanted - sum(len(rows) for name, rows in chunks if name == dataset))

    properties: list[Row] = [
        {"sys_id": f"{n:032x}", "name": f"x_padding.setting.{n}", "value": "true"}
        for n in missing("system_properties", PROPERTIES)
    ]
    plugins: list[Row] = [
        {"id": f"com.padding.{n}", "name": f"Padding {n}", "is_active": True} for n in missing("plugins", PLUGINS)
    ]
    return [("system_properties", properties), ("plugins", plugins)]


def _compare(catalogue: Catalogue, product: Product, recorded: Recorded) -> tuple[Figure, str]:
    population, left_out = _translatable(catalogue, product, recorded)
    ours, theirs = [], []
    judged = results = exposed = plain_judged = 0
    gc.collect()
    gc.freeze()
    for _ in range(REPETITIONS):
        (judged, items), seconds = _timed(lambda: _evaluate(catalogue, recorded))
        results = sum(isinstance(item, ControlResult) for item in items)
        exposed = sum(len(item.entities) for item in items if isinstance(item, ExposedEntities))
        ours.append((judged + results) / seconds)
        (plain_judged, checks), seconds = _timed(lambda: _plain(population, recorded))
        theirs.append(plain_judged / seconds)
        _same_counts(items, checks)
    gc.unfreeze()
    remark = (
        f"{product}: {recorded.row_count:,} rows, {judged:,} judgements of rows, {results} control results, "
        f"{exposed:,} exposed entities listed; the plain loop has {plain_judged:,} judgements of {len(population)} "
        f"controls and leaves out {left_out} others with populations"
    )
    return Figure(f"judgements, {product}", "/s", ours, theirs, "plain loop", TARGET_PER_SECOND), remark


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    """What `work` returns, and the processor time of this thread that it took."""
    began = time.thread_time()
    done = work()
    return done, time.thread_time() - began


def _evaluate(catalogue: Catalogue, recorded: Recorded) -> tuple[int, Items]:
    completed = recorded.completed
    evaluation = Evaluation(catalogue.plans[completed.product], catalogue.digests, completed.parameters)
    items: Items = []
    for dataset, rows in recorded.chunks:
        items += evaluation.take(dataset, rows)
    items += evaluation.conclude(completed.datasets)
    return evaluation.rows_judged, items


def _plain(plans: list[ProductPlan], recorded: Recorded) -> tuple[int, list[plain.PlainCheck]]:
    """How many judgements the loop made, and its checks."""
    population: dict[str, list[plain.PlainCheck]] = defaultdict(list)
    for plan in plans:
        for dataset, found in plain.checks(plan).items():
            population[dataset] += found
    for dataset, rows in recorded.chunks:
        plain.judge(rows, population.get(dataset, []))
    judged = sum(len(rows) * len(population.get(dataset, [])) for dataset, rows in recorded.chunks)
    return judged, [check for found in population.values() for check in found]


def _translatable(catalogue: Catalogue, product: Product, recorded: Recorded) -> tuple[list[ProductPlan], int]:
    """The population controls that the plain loop can express, and how many it cannot."""
    plans, left_out = [], 0
    for control in catalogue.controls.values():
        leaves = control.leaves().values()
        if control.product is not product or not any(isinstance(leaf, RowsCheck | CountCheck) for leaf in leaves):
            continue
        plan = build_plan(product, [control])
        if _is_simple(control) and _runs(plan, recorded):
            plans.append(plan)
        else:
            left_out += 1
    return plans, left_out


def _is_simple(control: Control) -> bool:
    check = control.check
    return not control.applies_when and (
        isinstance(check, RowsCheck) or (isinstance(check, CountCheck) and check.of is None)
    )


def _runs(plan: ProductPlan, recorded: Recorded) -> bool:
    try:
        _plain([plan], recorded)
    except (plain.UntranslatableError, KeyError, TypeError):
        return False
    return True


def _same_counts(items: Items, checks: list[plain.PlainCheck]) -> None:
    """Raises RuntimeError when the two sides disagree: then they were not measured at the same work."""
    results = {item.control_id: item for item in items if isinstance(item, ControlResult)}
    for check in checks:
        result = results[check.control]
        if result.total is None:
            continue  # a dataset that could not be read whole, which the loop does not know of
        ours = (result.total, result.compliant or 0)
        if ours != (check.total, check.compliant):
            raise RuntimeError(f"{check.control}: the core counts {ours}, the loop {(check.total, check.compliant)}")
