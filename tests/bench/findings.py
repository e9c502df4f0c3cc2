"""Events for SIEMs, built of what an evaluation found, against `json.dumps` of the same dictionaries."""

import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean

from plumbline_contracts.events import Product
from plumbline_evaluator.catalogue.loading import load
from plumbline_evaluator.catalogue.location import default_folder
from plumbline_score_api.findings.ocsf import write
from plumbline_score_api.findings.validation import problems

from tests.bench.figures import Figure, Section
from tests.told import Told, told

REPETITIONS = 9
LEAST_EVENTS = 5_000
"""In one measurement; the findings are told again until there are so many."""
TARGET_PER_SECOND = 20_000

ABOUT = f"""\
How many events one processor core makes in one second of what the whole catalogue finds on simulated orgs: every
control of both products with the texts, mappings and evidence that it has, at most 20 exposed entities with their
names, PASS included. *Built* is from a telling and its facts to the bytes of the record, in at most 8,000 bytes; *built
and validated* checks each of them against the published OCSF schema and the rules beside it as well, as it is before
anything is sent. The reference is `json.dumps` alone, of dictionaries that are there already and equal to those events.
At least {LEAST_EVENTS:,} events a measurement, both sides in turns; time is processor time of the one thread."""


def measure(files: dict[Product, Path]) -> Section:
    """Both figures, and how large the events are."""
    catalogue = load(default_folder())
    once = [each for file in files.values() for each in told(file, catalogue)]
    many = once * -(-LEAST_EVENTS // len(once))
    written = [write(*each) for each in once]
    if wrong := [found for each in written if (found := problems(*each))]:
        raise RuntimeError(f"{len(wrong)} of {len(written)} events may not be sent; the first: {wrong[0]}")
    events = [each.event for each in written] * (len(many) // len(once))

    def plain() -> None:
        for event in events:
            json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()

    figures = [
        _compare("events built", lambda: _build(many), plain, len(many), TARGET_PER_SECOND),
        _compare("events built and validated", lambda: _build_and_validate(many), plain, len(many), None),
    ]
    sizes = [len(each.record) for each in written]
    cut = sum("is_truncated" in each.event["metadata"] for each in written)
    remark = (
        f"{len(written)} findings; an event has {mean(sizes):,.0f} bytes in the mean, {max(sizes):,} at most; "
        f"{cut} tell of less than there is"
    )
    return Section("Events for SIEMs", ABOUT, figures, [remark])


def _build(what: list[Told]) -> None:
    for telling, facts in what:
        write(telling, facts)


def _build_and_validate(what: list[Told]) -> None:
    for telling, facts in what:
        problems(*write(telling, facts))


def _compare(
    name: str, ours: Callable[[], None], theirs: Callable[[], None], count: int, limit: float | None
) -> Figure:
    gc.collect()
    gc.freeze()
    pairs = [(count / _seconds(ours), count / _seconds(theirs)) for _ in range(REPETITIONS)]
    gc.unfreeze()
    return Figure(name, "/s", [pair[0] for pair in pairs], [pair[1] for pair in pairs], "json.dumps", limit)


def _seconds(work: Callable[[], None]) -> float:
    """Processor time of this thread."""
    began = time.thread_time()
    work()
    return time.thread_time() - began
