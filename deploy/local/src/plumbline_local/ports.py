"""The ports of a stack, and who holds those that are taken."""

import errno
import socket
from dataclasses import dataclass

import psutil

from plumbline_local.processes import membership

DEFAULT_PORT_BASE = 19100


class PortsTakenError(RuntimeError):
    """Somebody listens on ports that the stack needs; the message names each port, who, and what to do."""


def is_open(port: int) -> bool:
    """Whether somebody listens on a loopback port.

    Who connects to a port of the range that the system gives to connections may be given that very port, and is then
    connected with itself.
    """
    with socket.socket() as probe:
        is_connected = probe.connect_ex(("127.0.0.1", port)) == 0
        return is_connected and probe.getsockname() != probe.getpeername()


@dataclass(frozen=True)
class Ports:
    """Every port of a stack, from one base upward."""

    base: int

    @property
    def api(self) -> int:
        return self.base

    @property
    def kafka(self) -> int:
        return self.base + 1

    @property
    def kafka_controller(self) -> int:
        return self.base + 2

    @property
    def mongodb(self) -> int:
        return self.base + 3

    @property
    def salesforce(self) -> int:
        return self.base + 4

    @property
    def servicenow(self) -> int:
        return self.base + 5

    @property
    def collector_health(self) -> int:
        return self.base + 6

    @property
    def evaluator_health(self) -> int:
        return self.base + 7

    @property
    def project_health(self) -> int:
        return self.base + 8

    @property
    def serve_health(self) -> int:
        return self.base + 9

    def named(self, *, simulators: bool) -> dict[str, int]:
        """Name to port of everything that listens."""
        named = {
            "score-api-serve": self.api,
            "kafka": self.kafka,
            "kafka controller": self.kafka_controller,
            "mongodb": self.mongodb,
            "collector health": self.collector_health,
            "evaluator health": self.evaluator_health,
            "score-api-project health": self.project_health,
            "score-api-serve health": self.serve_health,
        }
        if simulators:
            named |= {"simulator-salesforce": self.salesforce, "simulator-servicenow": self.servicenow}
        return named

    def refuse_taken(self, *, simulators: bool) -> None:
        """Raises PortsTakenError when a port cannot be opened."""
        taken = [
            f"port {port} ({name}) is taken by {_holder(port)}"
            for name, port in self.named(simulators=simulators).items()
            if not _can_be_opened(port)
        ]
        if taken:
            raise PortsTakenError(
                "; ".join(taken) + ".\nStop what holds them, or take other ports: "
                "`plumbline up --port-base N`, with make: `make up ARGS='--port-base N'`."
            )


def _can_be_opened(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            return False
    return True


def _holder(port: int) -> str:
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # some systems show sockets to the superuser alone
        return "another process"
    pids = [c.pid for c in connections if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port]
    return next((_described(pid) for pid in pids if pid is not None), "another user's process")


def _described(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        name = process.name()
    except psutil.NoSuchProcess:
        return "a process that has just ended"
    belongs = membership(process)
    stack = f", {belongs[1]} of the stack in {belongs[0]}" if belongs else ""
    return f"{name} (pid {pid}{stack})"
