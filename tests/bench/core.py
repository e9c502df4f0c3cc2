"""The evaluation core against a plain Python loop, on the rows that the collector reads from simulated orgs."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from plumbline_contracts.events import ControlResult, ExposedEntities, Product, Row, SnapshotCompleted
from plumbline_evaluator.catalogue.loading import Catalogue, load
from plumbline_evaluator.catalogue.location import default_folder
from plumbline_evaluator.judging.evaluation import Evaluation
from plumbline_evaluator.judging.plan import build_plan
from plumbline_evaluator.sources.file import SnapshotFile

from tests.bench import plain
from tests.bench.figures import Figure, Section

T = TypeVar("T")
Items = list[ControlResult | ExposedEntities]

REPETITIONS = 9
TARGET_PER_SECOND = 100_000

ABOUT = """\
How many judgements the pure core makes in one second of one processor core: every row that a control judges
counts once for that control, and every control result counts once; PASS results are kept. The input is a
snapshot of a simulated org with 10,000 users (settings documents and user rows), judged by the whole catalogue
with exposed entities listed. The reference is a plain Python loop over the same rows: the same population
controls as hand-written Python would test them (`row["is_frozen"]`), counting and collecting the exposed rows,
without typed values, UNKNOWN, digests, or any check of what it reads. Both are checked to count the same. Time
is processor time of the one thread."""


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
        recorded = Recorded(source.completed, [(chunk.dataset, chunk.rows) for chunk in source.chunks()])
        figure, remark = _compare(catalogue, product, recorded)
        figures.append(figure)
        remarks.append(remark)
    return Section("Evaluation core", ABOUT, figures, remarks)


def _compare(catalogue: Catalogue, product: Product, recorded: Recorded) -> tuple[Figure, str]:
    catalogue, left_out = _translatable(catalogue, product)
    ours, theirs = [], []
    judged = results = exposed = 0
    gc.collect()
    gc.freeze()
    for _ in range(REPETITIONS):
        (judged, items), seconds = _timed(lambda: _evaluate(catalogue, recorded))
        results = sum(isinstance(item, ControlResult) for item in items)
        exposed = sum(len(item.entities) for item in items if isinstance(item, ExposedEntities))
        ours.append((judged + results) / seconds)
        checks, seconds = _timed(lambda: _plain(catalogue, recorded))
        theirs.append((judged + results) / seconds)
        _same_counts(items, checks)
    gc.unfreeze()
    remark = (
        f"{product}: {recorded.row_count:,} rows, {judged:,} judgements of rows, {results} control results, "
        f"{exposed:,} exposed entities listed"
    )
    if left_out:
        remark += f"; without {', '.join(left_out)}, which use more of CEL than the plain loop knows"
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


def _plain(catalogue: Catalogue, recorded: Recorded) -> list[plain.PlainCheck]:
    population = plain.checks(catalogue.plans[recorded.completed.product])
    for dataset, rows in recorded.chunks:
        plain.judge(rows, population.get(dataset, []))
    return [check for checks in population.values() for check in checks]


def _translatable(catalogue: Catalogue, product: Product) -> tuple[Catalogue, list[str]]:
    """The catalogue without the controls that the plain loop cannot express, and their ids."""
    controls = [control for control in catalogue.controls.values() if control.product is product]
    left_out = []
    for control in controls:
        try:
            plain.checks(build_plan(product, [control]))
        except plain.UntranslatableError:
            left_out.append(control.id)
    plan = build_plan(product, [control for control in controls if control.id not in left_out])
    return replace(catalogue, plans={product: plan}), left_out


def _same_counts(items: Items, checks: list[plain.PlainCheck]) -> None:
    """Raises RuntimeError when the two sides disagree: then they were not measured at the same work."""
    results = {item.control_id: item for item in items if isinstance(item, ControlResult)}
    for check in checks:
        result = results[check.control]
        ours = (result.total, result.compliant or 0)
        if ours != (check.total, check.compliant):
            raise RuntimeError(f"{check.control}: the core counts {ours}, the loop {(check.total, check.compliant)}")
