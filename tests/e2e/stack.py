"""A whole stack of the tests' own, and what a person would do with it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil

BIN = Path(sys.executable).parent

Findings = dict[tuple[str, str], tuple[str, float, int | None, int | None]]


class Stack:
    """`plumbline` with a home and ports of its own."""

    def __init__(self, home: Path, port_base: int) -> None:
        self.home = home
        self.port_base = port_base

    def run(self, *arguments: str, check: bool = True, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """`plumbline ARGUMENTS --home HOME`, output captured; with `check`, a failure shows it."""
        command = [str(BIN / "plumbline"), *arguments, "--home", str(self.home)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        if check:
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done

    def up(self, *arguments: str) -> str:
        """Start; the printed text."""
        return self.run("up", "--port-base", str(self.port_base), *arguments).stdout

    def down(self) -> None:
        """Stop everything."""
        self.run("down")

    @property
    def status(self) -> dict[str, Any]:
        """`status --json`."""
        document: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return document

    def process(self, name: str) -> psutil.Process:
        """The running process of this name."""
        return psutil.Process(next(entry["pid"] for entry in self.status["processes"] if entry["name"] == name))

    def client(self) -> httpx.Client:
        """An HTTP client with the stack's key."""
        status = self.status
        key = Path(status["api_key_file"]).read_text().strip()
        return httpx.Client(
            base_url=status["api_url"], headers={"Authorization": f"Bearer {key}"}, timeout=30, trust_env=False
        )


def findings(client: httpx.Client) -> Findings:
    """(instance, control) to outcome, points, compliant and total, over all pages."""
    found: Findings = {}
    cursor: str | None = None
    while True:
        query: dict[str, str | int] = {"limit": 100} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/recommendations", params=query).raise_for_status().json()
        for item in page["items"]:
            found[item["instance"], item["control_id"]] = (
                item["outcome"],
                item["points"],
                item.get("compliant"),
                item.get("total"),
            )
        cursor = page.get("next_cursor")
        if cursor is None:
            return found


def score(client: httpx.Client) -> dict[str, Any]:
    """`GET /v1/secure-score`."""
    document: dict[str, Any] = client.get("/v1/secure-score").raise_for_status().json()
    return document
