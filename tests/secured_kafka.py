"""A broker with a second listener that takes logins by SCRAM-SHA-512 over TLS alone, as brokers of operators do."""

import datetime as dt
import ipaddress
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from plumbline_local import kafka as local_kafka

from tests.polling import free_port, until

STARTUP_SECONDS = 60
USER = "reader"
PROPERTIES = """\
listeners=PLAINTEXT://127.0.0.1:{port},LOGIN://127.0.0.1:{login_port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},LOGIN://127.0.0.1:{login_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
listener.name.login.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.login.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


@dataclass(frozen=True)
class SecuredKafka:
    """`bootstrap` is open, for a test's own use; `login_bootstrap` wants the user, the password and TLS."""

    bootstrap: str
    login_bootstrap: str
    password_file: Path
    certificate_file: Path


@contextmanager
def secured_kafka(home: Path) -> Iterator[SecuredKafka]:
    """The broker, running."""
    port, login_port, controller_port = free_port(), free_port(), free_port()
    command = local_kafka.prepare(home, port, controller_port)
    certificate, keystore = _certificate(home)
    with (home / "server.properties").open("a") as file:
        ports = {"port": port, "login_port": login_port, "controller_port": controller_port}
        file.write(PROPERTIES.format(keystore=keystore, **ports))
    password = secrets.token_urlsafe(18)
    (home / "password").write_text(f"{password}\n")
    _format(command, home, password)
    with (home / "kafka.log").open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    broker = local_kafka.KafkaBroker(process, f"127.0.0.1:{port}", home)
    try:
        _wait_for_start(broker)
        yield SecuredKafka(broker.bootstrap, f"127.0.0.1:{login_port}", home / "password", certificate)
    finally:
        broker.stop()


def _format(command: list[str], home: Path, password: str) -> None:
    """Format the storage anew, with the user in it: `command` runs the broker."""
    shutil.rmtree(home / "data")
    *java, _, properties = command
    tool = ["kafka.tools.StorageTool", "format", "-t", local_kafka.CLUSTER_ID, "-c", properties]
    user = f"SCRAM-SHA-512=[name={USER},password={password},iterations=4096]"
    subprocess.run([*java, *tool, "--add-scram", user], check=True, capture_output=True)


def _wait_for_start(broker: local_kafka.KafkaBroker) -> None:
    def has_started() -> bool:
        assert broker.process.poll() is None, (broker.home / "kafka.log").read_text()[-2000:]
        return (broker.home / "data" / "__cluster_metadata-0").is_dir() and _is_open(broker.bootstrap)

    until(has_started, within_seconds=STARTUP_SECONDS, what="the broker takes connections")


def _is_open(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _certificate(home: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and the same with its key as the broker wants it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (home / "certificate.pem").write_bytes(pem)
    keystore = home / "keystore.pem"
    keystore.touch(mode=0o600)
    keystore.write_bytes(private + pem)
    return home / "certificate.pem", keystore
