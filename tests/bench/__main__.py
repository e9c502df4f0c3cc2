"""Measures speed and memory: `make bench`. Prints a table and writes docs/reference/benchmarks.md.

Nothing here is part of the test suite.
"""

import logging
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import structlog
from plumbline_contracts.events import Product
from plumbline_local.kafka import KafkaBroker

from tests.bench import bare, core, findings, latency, projecting, report, serving, sizes, throughput
from tests.bench.figures import Section
from tests.bench.orgs import simulated
from tests.bench.topics import broker, fresh_topics

CORE_USERS = 10_000
SMALL, LARGE = 1_000, 100_000


def main() -> int:
    """Run everything, or what is named: `core`, `findings`, `files`, `service`, `commands`, `bare`, `services`,
    `projector`, `api`, `latency`. What is named is shown and not written.

    1 when a target is missed or something could not be measured.
    """
    began, wanted = time.monotonic(), sys.argv[1:]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # topics that have just been made have no leader yet
    with tempfile.TemporaryDirectory(prefix="plumbline-bench-") as name:
        run = Run(Path(name), wanted, began)
        run.all()
    if not wanted:
        report.write(run.sections, (time.monotonic() - began) / 60)
    report.show(run.sections)
    return int(run.is_broken) or _status(run.sections)


class Run:
    """Measures one thing after the other. One that breaks does not cost the others."""

    def __init__(self, scratch: Path, wanted: list[str], began: float) -> None:
        self._scratch, self._wanted, self._began = scratch, wanted, began
        self.sections: list[Section] = []
        self.is_broken = False

    def all(self) -> None:
        """Everything that is wanted."""
        scratch = self._scratch
        self._tell(f"recording two orgs of {CORE_USERS:,} users")
        files = _record(scratch)
        self._measure("core", "evaluation core", lambda: core.measure(files))
        self._measure("findings", "events for SIEMs", lambda: findings.measure(files))
        self._measure("files", "files of 500,000 rows", lambda: sizes.measure_files(files, scratch))
        with broker(scratch / "kafka") as started:
            self._measure("service", "evaluator service", lambda: throughput.measure(started, files, scratch))
            self._by_size(started)
            self._measure("projector", "projector", lambda: projecting.measure(started, scratch))
            self._measure("api", "score API under load", lambda: serving.measure(fresh_topics(started), scratch))
        self._measure("latency", "from a changed setting to the new score", lambda: latency.measure(scratch))

    def _by_size(self, started: KafkaBroker) -> None:
        scratch, numbers = self._scratch, f"{LARGE:,} and {SMALL:,} users"
        with simulated(SMALL, scratch / "small") as small, simulated(LARGE, scratch / "large") as large:
            self._measure("commands", f"commands on {numbers}", lambda: sizes.measure_commands(small, large, scratch))
            self._measure("bare", f"collection of {LARGE:,} users against a bare loop", lambda: bare.measure(large))
            self._measure(
                "services", f"services on {numbers}", lambda: sizes.measure_services(started, small, large, scratch)
            )

    def _measure(self, name: str, what: str, measure: Callable[[], Section]) -> None:
        if self._wanted and name not in self._wanted:
            return
        self._tell(what)
        try:
            self.sections.append(measure())
        except Exception:  # noqa: BLE001 - it is told, and the status says so
            traceback.print_exc()
            self.is_broken = True

    def _tell(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:5.1f} s] {text}", file=sys.stderr)  # noqa: T201


def _record(scratch: Path) -> dict[Product, Path]:
    files = {product: scratch / f"{product}.snapshot" for product in Product}
    with simulated(CORE_USERS, scratch / "core") as orgs:
        for product, file in files.items():
            orgs.snapshot(product, file)
    return files


def _status(sections: list[Section]) -> int:
    return int(any(figure.is_met is False for section in sections for figure in section.figures))


if __name__ == "__main__":
    sys.exit(main())
