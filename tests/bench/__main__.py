"""Measures speed and memory: `make bench`. Prints a table and writes docs/reference/benchmarks.md.

Nothing here is part of the test suite.
"""

import logging
import sys
import tempfile
import time
from pathlib import Path

import structlog
from plumbline_contracts.events import Product

from tests.bench import bare, core, latency, projecting, report, serving, sizes, throughput
from tests.bench.figures import Section
from tests.bench.orgs import simulated
from tests.bench.topics import broker, fresh_topics

CORE_USERS = 10_000
SMALL, LARGE = 1_000, 100_000


def main() -> int:
    """Run everything; 1 when a target is missed."""
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {text}", file=sys.stderr)  # noqa: T201

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # topics that have just been made have no leader yet
    with tempfile.TemporaryDirectory(prefix="plumbline-bench-") as name:
        scratch = Path(name)
        tell(f"recording two orgs of {CORE_USERS:,} users")
        files = _record(scratch)
        tell("evaluation core")
        sections = [core.measure(files)]
        tell("files of 500,000 rows")
        sections.append(sizes.measure_files(files, scratch))
        with broker(scratch / "kafka") as started:
            tell("evaluator service")
            sections.append(throughput.measure(started, files, scratch))
            with simulated(SMALL, scratch / "small") as small, simulated(LARGE, scratch / "large") as large:
                tell(f"commands on {LARGE:,} and {SMALL:,} users")
                sections.append(sizes.measure_commands(small, large, scratch))
                tell(f"collection of {LARGE:,} users against a bare loop")
                sections.append(bare.measure(large))
                tell(f"services on {LARGE:,} and {SMALL:,} users")
                sections.append(sizes.measure_services(started, small, large, scratch))
            tell("projector")
            sections.append(projecting.measure(started, scratch))
            tell("score API under load")
            sections.append(serving.measure(fresh_topics(started), scratch))
        tell("from a changed setting to the new score")
        sections.append(latency.measure(scratch))
    report.write(sections, (time.monotonic() - began) / 60)
    report.show(sections)
    return _status(sections)


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
