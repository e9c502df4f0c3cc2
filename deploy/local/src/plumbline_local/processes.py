"""Which running processes belong to a stack.

Every process of a stack carries the stack's home and its own name in its environment. A recorded pid may be another
program's by now and a record may be lost or damaged; the environment of a running process is neither.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import psutil

HOME_VARIABLE = "PLUMBLINE_LOCAL_HOME"
NAME_VARIABLE = "PLUMBLINE_LOCAL_PROCESS"
SUPERVISOR = "supervisor"
STOP_SECONDS = 25.0
KILL_SECONDS = 5.0


def mark(home: Path, name: str) -> dict[str, str]:
    """The variables that make a process known as `name` of the stack in `home`."""
    return {HOME_VARIABLE: str(home), NAME_VARIABLE: name}


def membership(process: psutil.Process) -> tuple[str, str] | None:
    """The home and the name that a process carries; None for processes of no stack and of other users."""
    try:
        environment = process.environ()
    except (psutil.Error, OSError):
        return None
    home, name = environment.get(HOME_VARIABLE), environment.get(NAME_VARIABLE)
    return (home, name) if home and name else None


def of_stack(home: Path) -> list[psutil.Process]:
    """Every running process of the stack in `home` but this one, children of its services included."""
    own = os.getpid()
    found = []
    for process in psutil.process_iter():
        belongs = membership(process) if process.pid != own else None
        if belongs is not None and belongs[0] == str(home):
            found.append(process)
    return found


def by_name(home: Path) -> dict[str, psutil.Process]:
    """The supervisor and the processes under it, by name. Each leads a session of its own; their children do not."""
    found = {}
    for process in of_stack(home):
        belongs = membership(process)
        if belongs is not None and _leads_its_session(process.pid):
            found[belongs[1]] = process
    return found


def _leads_its_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except (ProcessLookupError, PermissionError):
        return False


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a child that has ended and was not waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def terminate_holder(pid: int | None, file: Path) -> bool:
    """SIGTERM to the process, if it is the one that has `file` open; whether it was."""
    try:
        process = psutil.Process(pid) if pid is not None else None
        if process is None or str(file) not in {opened.path for opened in process.open_files()}:
            return False
        process.terminate()
    except psutil.Error:
        return False
    return True


def stop(processes: Iterable[psutil.Process], *, within_seconds: float = STOP_SECONDS) -> None:
    """SIGTERM to all at once, SIGKILL to those that still run after `within_seconds`; returns when all have ended."""
    asked = list(processes)
    for process in asked:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(asked, timeout=within_seconds)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=KILL_SECONDS)


def stop_stack(home: Path) -> bool:
    """Stop the supervisor, which stops the others in order, then all that it left; whether anything ran."""
    running = of_stack(home)
    if supervisor := by_name(home).get(SUPERVISOR):
        stop([supervisor], within_seconds=2 * STOP_SECONDS)
    stop(of_stack(home))
    return bool(running)
