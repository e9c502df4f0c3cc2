"""A broker that lets nobody in without a login and nobody do what no ACL allows, with all ways to log in."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from plumbline_contracts.acls import Installation, principals
from plumbline_contracts.kafka import KafkaSettings
from plumbline_local import kafka as local_kafka

from tests.certificates import Authority
from tests.integration.security.tokens import TokenServer
from tests.polling import free_port

ADMIN = "admin"
AUDIENCE = "kafka"
ISSUER = "https://id.contoso.example"
KEY_ID = "first"
CALLBACKS = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"
LOGIN_MODULES = "org.apache.kafka.common.security"

PROPERTIES = """\
listeners=LOGIN://127.0.0.1:{port},MUTUAL://127.0.0.1:{mutual_port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=LOGIN://127.0.0.1:{port},MUTUAL://127.0.0.1:{mutual_port}
listener.security.protocol.map=LOGIN:SASL_SSL,MUTUAL:SSL,CONTROLLER:SSL
inter.broker.listener.name=MUTUAL
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:broker;User:{admin}
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={cafile}
ssl.principal.mapping.rules=RULE:^CN=([^,]+)$/$1/
listener.name.mutual.ssl.client.auth=required
listener.name.controller.ssl.client.auth=required
listener.name.login.ssl.client.auth=none
listener.name.login.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.login.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required {plain_users};
listener.name.login.scram-sha-256.sasl.jaas.config={modules}.scram.ScramLoginModule required;
listener.name.login.scram-sha-512.sasl.jaas.config={modules}.scram.ScramLoginModule required;
listener.name.login.oauthbearer.sasl.jaas.config={modules}.oauthbearer.OAuthBearerLoginModule required;
listener.name.login.oauthbearer.sasl.server.callback.handler.class={callbacks}
listener.name.login.oauthbearer.sasl.oauthbearer.jwks.endpoint.url={jwks}
listener.name.login.oauthbearer.sasl.oauthbearer.expected.audience={audience}
listener.name.login.oauthbearer.sasl.oauthbearer.expected.issuer={issuer}
"""


class SecuredBroker:
    """A running broker, the authority of its certificate, and a password for each login."""

    def __init__(self, folder: Path, installation: Installation, logins: list[str]) -> None:
        self.folder, self.installation = folder, installation
        self.authority = Authority(folder / "certificates")
        self.passwords = {login: secrets.token_urlsafe(18) for login in (ADMIN, *logins)}
        self._ports = free_port(), free_port(), free_port()
        self._signing = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.token_server = TokenServer(self.authority, self.passwords, self._sign)

    @contextmanager
    def running(self) -> Iterator["SecuredBroker"]:
        """Start the broker and the token endpoint; stop them."""
        jwks = self._jwks()
        port, mutual_port, controller_port = self._ports
        properties = PROPERTIES.format(
            port=port, mutual_port=mutual_port, controller_port=controller_port, admin=ADMIN, modules=LOGIN_MODULES,
            keystore=self._keystore(), cafile=self.authority.cafile, callbacks=CALLBACKS, jwks=jwks, audience=AUDIENCE,
            issuer=ISSUER,
            plain_users=" ".join(f'user_{name}="{password}"' for name, password in self.passwords.items()),
        )  # fmt: skip
        users = [
            f"{mechanism}=[name={name},password={password},iterations=4096]"
            for name, password in self.passwords.items()
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        ]
        with pytest.MonkeyPatch.context() as patch, self.token_server.running():
            patch.setenv("JDK_JAVA_OPTIONS", f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={jwks}")
            broker = local_kafka.start(
                self.folder / "kafka", port, controller_port, properties=properties, scram_users=users
            )
            try:
                yield self
            finally:
                broker.stop()

    def _keystore(self) -> Path:
        certificate, key = self.authority.issue("broker")
        path = self.folder / "broker.pem"
        path.write_bytes(key.read_bytes() + certificate.read_bytes())
        return path

    def _jwks(self) -> str:
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self._signing.public_key(), as_dict=True)
        path = self.folder / "jwks.json"
        path.write_text(json.dumps({"keys": [{**key, "kid": KEY_ID, "alg": "RS256", "use": "sig"}]}))
        return path.as_uri()

    def _sign(self, subject: str, issued_at: int, expires_at: int) -> str:
        claims = {"sub": subject, "iss": ISSUER, "aud": AUDIENCE, "iat": issued_at, "exp": expires_at, "scope": "kafka"}
        return jwt.encode(claims, self._signing, algorithm="RS256", headers={"kid": KEY_ID})

    # --- settings of its clients

    def login(self, name: str, mechanism: str = "SCRAM-SHA-512") -> KafkaSettings:
        """Settings that log in with the user's password."""
        return self._settings(
            kafka_security_protocol="SASL_SSL",
            kafka_sasl_mechanism=mechanism,
            kafka_sasl_username=name,
            kafka_sasl_password_file=self._password_file(name),
        )

    def token(self, name: str) -> KafkaSettings:
        """Settings that log in with an access token."""
        return self._settings(
            kafka_security_protocol="SASL_SSL",
            kafka_sasl_mechanism="OAUTHBEARER",
            kafka_oauth_token_endpoint=self.token_server.url,
            kafka_oauth_client_id=name,
            kafka_oauth_client_secret_file=self._password_file(name),
            kafka_oauth_scope="kafka",
            kafka_oauth_cafile=self.authority.cafile,
        )

    def certificate(self, name: str) -> KafkaSettings:
        """Settings of mutual TLS."""
        certificate, key = self.authority.issue(name)
        return self._settings(
            kafka_bootstrap=f"127.0.0.1:{self._ports[1]}",
            kafka_security_protocol="SSL",
            kafka_ssl_certfile=certificate,
            kafka_ssl_keyfile=key,
        )

    def _settings(self, **stated: object) -> KafkaSettings:
        return KafkaSettings.model_validate(
            {
                "kafka_bootstrap": f"127.0.0.1:{self._ports[0]}",
                "topic_prefix": self.installation.prefix,
                "kafka_ssl_cafile": self.authority.cafile,
                **stated,
            }
        )

    def _password_file(self, name: str) -> Path:
        path = self.folder / f"{name}.password"
        path.touch(mode=0o600)
        path.write_text(f"{self.passwords[name]}\n")
        return path


def logins(installation: Installation) -> list[str]:
    """The user names of an installation's principals."""
    return [principal.principal.removeprefix("User:") for principal in principals(installation)]


def environment(settings: KafkaSettings) -> dict[str, str]:
    """The variables that state these settings."""
    return {f"PLUMBLINE_{name.upper()}": str(value) for name, value in settings.model_dump(exclude_unset=True).items()}
