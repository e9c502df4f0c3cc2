"""A broker with a second listener that takes logins by SCRAM-SHA-512 over TLS alone, as brokers of operators do."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from plumbline_local import kafka as local_kafka

from tests.certificates import Authority
from tests.polling import free_port

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
    home.mkdir()
    port, login_port, controller_port = free_port(), free_port(), free_port()
    authority, password = Authority(home / "certificates"), secrets.token_urlsafe(18)
    certificate, key = authority.issue("broker")
    keystore, password_file = home / "keystore.pem", home / "password"
    keystore.write_bytes(key.read_bytes() + certificate.read_bytes())
    password_file.write_text(f"{password}\n")
    ports = {"port": port, "login_port": login_port, "controller_port": controller_port}
    broker = local_kafka.start(
        home / "kafka",
        port,
        controller_port,
        properties=PROPERTIES.format(keystore=keystore, **ports),
        scram_users=[f"SCRAM-SHA-512=[name={USER},password={password},iterations=4096]"],
    )
    try:
        yield SecuredKafka(broker.bootstrap, f"127.0.0.1:{login_port}", password_file, authority.cafile)
    finally:
        broker.stop()
