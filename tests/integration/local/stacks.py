"""Stacks of small processes, to watch the supervisor at work without a broker."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from plumbline_local import processes
from plumbline_local.layout import Home
from plumbline_local.plan import ProcessPlan, StackPlan, StagePlan, Wanted

LISTENER = (
    "import signal, socket, sys\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
    "listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
    "print('listening', flush=True)\n"
    "while True:\n"
    "    listener.accept()[0].close()\n"
)
DIES = "import sys; sys.exit('it cannot')"


def process(name: str, code: str, port: int, folder: Path) -> ProcessPlan:
    """A Python process that gets its port as an argument."""
    return ProcessPlan(name=name, command=[sys.executable, "-c", code, str(port)], port=port, folder=folder)


def plan(home: Home, *stages: StagePlan) -> StackPlan:
    """A plan of these stages."""
    return StackPlan(
        wanted=Wanted(port_base=2000),
        connections=home.own_connections,
        instances={"demo": []},
        stages=list(stages),
        environment={"PLANNED": "yes"},
    )


@contextmanager
def supervised(home: Home, made: StackPlan, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """The supervisor of a plan as a process of its own; nothing of it outlives the test."""
    home.prepare()
    home.plan_file.write_text(made.model_dump_json())
    with (home.logs / "supervisor.log").open("ab") as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "plumbline_local.supervisor", str(home.path)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **environment, **processes.mark(home.path, processes.SUPERVISOR)},
        )
    try:
        yield supervisor
    finally:
        processes.stop_stack(home.path)
        supervisor.wait(30)


def running(home: Home, name: str) -> psutil.Process | None:
    """The running process of this name."""
    return processes.by_name(home.path).get(name)
