"""What is left running: started in order, started again, bounded, and stopped as one."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from plumbline_local import processes
from plumbline_local.layout import Home
from plumbline_local.plan import StagePlan
from plumbline_local.stack import Stack

from tests.integration.local.stacks import DIES, LISTENER, plan, process, running, supervised
from tests.polling import free_port, until


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "a home")


def _up(home: Home, name: str) -> psutil.Process:
    log = home.logs / f"{name}.log"
    until(lambda: log.is_file() and "listening" in log.read_text(), within_seconds=15, what=f"{name} listens")
    found = running(home, name)
    assert found is not None
    return found


def _killed(home: Home, victim: psutil.Process, name: str) -> psutil.Process:
    """Kill -9, and the process that came in its place."""
    victim.kill()

    def successor() -> psutil.Process | None:
        found = running(home, name)
        return found if found is not None and found.pid != victim.pid else None

    return until(successor, within_seconds=15, what=f"{name} runs again")


def test_a_process_that_dies_is_started_again_in_the_environment_of_the_start(home: Home) -> None:
    made = plan(home, StagePlan(processes=[process("service", LISTENER, free_port(), home.path.parent)]))
    with supervised(home, made, A_SECRET="inherited"):
        first = _up(home, "service")
        second = _killed(home, first, "service")
        assert second.environ()["A_SECRET"] == "inherited"
        assert os.getsid(second.pid) == second.pid
        third = _killed(home, second, "service")
        assert third.environ()["A_SECRET"] == "inherited"
    log = (home.logs / "supervisor.log").read_text()
    assert "service ended with status -9; it is started again in 0.5 s" in log
    assert "it is started again in 1 s" in log


def test_a_command_is_repeated_until_it_succeeds(home: Home) -> None:
    note = home.path.parent / "note"
    code = f"import pathlib, sys; n = pathlib.Path({str(note)!r}); known = n.exists(); n.touch(); sys.exit(not known)"
    made = plan(
        home,
        StagePlan(commands=[[sys.executable, "-c", code]]),
        StagePlan(processes=[process("service", LISTENER, free_port(), home.path.parent)]),
    )
    with supervised(home, made):
        _up(home, "service")


def test_a_stage_begins_when_the_commands_and_ports_of_the_one_before_are_there(home: Home) -> None:
    port = free_port()
    only_once_up = f"import socket, os; socket.create_connection(('127.0.0.1', {port})); print(os.environ['PLANNED'])"
    made = plan(
        home,
        StagePlan(processes=[process("store", LISTENER, port, home.path.parent)]),
        StagePlan(commands=[[sys.executable, "-c", only_once_up]]),
        StagePlan(processes=[process("service", LISTENER, free_port(), home.path.parent)]),
    )
    with supervised(home, made):
        _up(home, "service")
        assert (home.logs / "provisioning.log").read_text() == "yes\n"


def test_a_process_that_cannot_start_ends_the_start_and_leaves_nothing(home: Home) -> None:
    made = plan(
        home,
        StagePlan(processes=[process("store", LISTENER, free_port(), home.path.parent)]),
        StagePlan(processes=[process("service", DIES, free_port(), home.path.parent)]),
    )
    with supervised(home, made) as supervisor:
        assert supervisor.wait(60) == 1
        assert processes.of_stack(home.path) == []
    log = (home.logs / "supervisor.log").read_text()
    assert f"service ended 5 times before it was up; see {home.logs / 'service.log'}" in log
    assert "it cannot" in (home.logs / "service.log").read_text()


def test_a_stop_interrupts_a_start(home: Home) -> None:
    made = plan(home, StagePlan(commands=[[sys.executable, "-c", "import time; time.sleep(600)"]]))
    with supervised(home, made) as supervisor:
        until(lambda: len(processes.of_stack(home.path)) == 2, within_seconds=15, what="the command runs")
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(15) == 0
        assert processes.of_stack(home.path) == []


def test_what_a_killed_supervisor_left_is_found_and_stopped(home: Home) -> None:
    made = plan(home, StagePlan(processes=[process("service", LISTENER, free_port(), home.path.parent)]))
    with supervised(home, made) as supervisor:
        left = _up(home, "service")
        supervisor.kill()
        supervisor.wait()
        stack = Stack(home.path)
        assert stack.supervisor is None
        assert set(stack.running) == {"service"}
        assert stack.down()
        assert not left.is_running()
        assert not stack.down()


def test_a_home_that_was_deleted_can_still_be_stopped(home: Home) -> None:
    made = plan(home, StagePlan(processes=[process("service", LISTENER, free_port(), home.path.parent)]))
    with supervised(home, made) as supervisor:
        left = _up(home, "service")
        home.plan_file.unlink()
        home.lock_file.unlink(missing_ok=True)
        assert Stack(home.path).down()
        assert not left.is_running()
        supervisor.wait(15)


def test_logs_are_bounded_while_it_runs(home: Home) -> None:
    made = plan(home, StagePlan(processes=[process("service", LISTENER, free_port(), home.path.parent)]))
    with supervised(home, made):
        _up(home, "service")
        log = home.logs / "service.log"
        os.truncate(log, 11 * 1024 * 1024)
        until(lambda: log.stat().st_size == 0, within_seconds=20, what="the log is cut")
        assert (home.logs / "service.log.1").stat().st_size == 11 * 1024 * 1024


def test_a_pid_that_belongs_to_another_program_is_not_touched(home: Home) -> None:
    """A lock that a killed start left may name a pid that was given to somebody else since."""
    home.prepare()
    with psutil.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stranger:
        home.lock_file.write_text(f"up {stranger.pid}")
        assert not processes.terminate_holder(stranger.pid, home.lock_file)
        assert not Stack(home.path).down()
        assert stranger.is_running()
        assert stranger.status() != psutil.STATUS_ZOMBIE
        stranger.kill()
