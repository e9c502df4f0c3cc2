"""A whole stack of the tests' own, and what a person would do with it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import psutil
from plumbline_local import processes

BIN = Path(sys.executable).parent

SALESFORCE, SERVICENOW = "salesforce-demo", "servicenow-demo"

Findings = dict[tuple[str, str], tuple[str, float, int | None, int | None]]


class Stack:
    """`plumbline` with a home and ports of its own."""

    def __init__(self, home: Path, port_base: int) -> None:
        self.home = home
        self.port_base = port_base

    def command(self, *arguments: str) -> list[str]:
        """`plumbline ARGUMENTS --home HOME`."""
        return [str(BIN / "plumbline"), *arguments, "--home", str(self.home)]

    def run(
        self,
        *arguments: str,
        check: bool = True,
        timeout: float = 240,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, output captured; with `check`, a failure shows it."""
        command = self.command(*arguments)
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, env={**os.environ, **environment}
        )
        if check:
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done

    def up(self, *arguments: str, **environment: str) -> str:
        """Start with these variables; the printed text."""
        return self.run("up", "--port-base", str(self.port_base), *arguments, environment=environment).stdout

    def down(self) -> None:
        """Stop everything."""
        self.run("down")

    @property
    def status(self) -> dict[str, Any]:
        """`status --json`."""
        document: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return document

    def pid(self, name: str) -> int | None:
        """The pid of the process of this name; None while it does not run."""
        found = processes.by_name(self.home.resolve()).get(name)
        return found.pid if found is not None else None

    def process(self, name: str) -> psutil.Process:
        """The running process of this name."""
        return processes.by_name(self.home.resolve())[name]

    @property
    def left(self) -> list[psutil.Process]:
        """Everything of this stack that runs."""
        return processes.of_stack(self.home.resolve())

    def client(self, tenant: str | None = None) -> httpx.Client:
        """An HTTP client with the key of a tenant, by default the first."""
        status = self.status
        first = Path(status["api_key_file"])
        key = (first.with_name(f"{tenant}.key") if tenant else first).read_text().strip()
        return httpx.Client(
            base_url=status["api_url"], headers={"Authorization": f"Bearer {key}"}, timeout=30, trust_env=False
        )


def recommendations(client: httpx.Client, **filters: str) -> Iterator[dict[str, Any]]:
    """All recommendations that fit, page by page."""
    cursor: str | None = None
    while True:
        query: dict[str, str | int] = {"limit": 100, **filters, **({"cursor": cursor} if cursor else {})}
        page = client.get("/v1/recommendations", params=query).raise_for_status().json()
        yield from page["items"]
        cursor = page.get("next_cursor")
        if cursor is None:
            return


def findings(client: httpx.Client) -> Findings:
    """(instance, control) to outcome, points, compliant and total, over all pages."""
    return {
        (item["instance"], item["control_id"]): (
            item["outcome"],
            item["points"],
            item.get("compliant"),
            item.get("total"),
        )
        for item in recommendations(client)
    }


def evaluated_at(client: httpx.Client, instance: str) -> str:
    """When the instance was last evaluated."""
    return str(client.get(f"/v1/instances/{instance}").raise_for_status().json()["evaluated_at"])


def scan(client: httpx.Client, instance: str) -> None:
    """Ask for an instance to be read."""
    assert client.post(f"/v1/instances/{instance}/scan").status_code == 202


def score(client: httpx.Client) -> dict[str, Any]:
    """`GET /v1/secure-score`."""
    document: dict[str, Any] = client.get("/v1/secure-score").raise_for_status().json()
    return document
