"""Runs a command and writes what it used: `measured.py REPORT COMMAND…`. SIGTERM goes to the command.

A process of its own, with nothing imported, because a child's peak memory is never below what its parent had when it
started it.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def main(report: Path, command: list[str]) -> int:
    """Run `command`; its exit status."""
    began = time.monotonic()
    process = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(process.pid, signal.SIGTERM))
    status = process.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    content = {
        "seconds": time.monotonic() - began,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss * RSS_UNIT / 1e6,
    }
    report.write_text(json.dumps(content))
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
