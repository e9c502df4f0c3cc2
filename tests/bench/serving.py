"""The score API under load, against a bare FastAPI route that answers the same bytes from memory."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from plumbline_contracts.kafka import KafkaSettings
from plumbline_local import mongodb
from plumbline_score_api import app as composition
from plumbline_score_api.keys.schemas import Role
from plumbline_score_api.settings import Settings

from tests.bench import posture
from tests.bench.figures import Figure, Section
from tests.bench.processes import MeasuredProcess, service
from tests.polling import free_port, until

ROOT = Path(__file__).parents[2]
REPETITIONS = 5
SECONDS = 4.0
CONNECTIONS = 64
LEAST_THROUGHPUT, MOST_P99 = 0.5, 3.0
PATHS = {
    "secure score": "/v1/secure-score",
    "filtered page": "/v1/recommendations?outcome=FAIL&outcome=PARTIAL&severity=high&category=Identity&limit=50",
}

EXPORTS = {
    "recommendations": "/v1/exports/recommendations?format=ndjson",
    "exposed entities": "/v1/exports/exposed-entities?format=csv",
}
"""Each is read to its end, and the API's memory looked at meanwhile."""
MOST_MEMORY = 1.2

ABOUT = f"""\
One process of the role `serve` on a database with {posture.INSTANCES} instances of {posture.CONTROLS} controls each
and a history of {posture.DAYS} days of every scope, under the load of {CONNECTIONS} connections that each ask again
as soon as they have their answer. Every request is authenticated with a key, and every answer is made of what the
database says after the request came: nothing is older than its question. The reference is a bare FastAPI route that
returns the same bytes from memory without looking at anything, in the same server (uvicorn with the protocol of the
score API), under the same load; both run in turns. The score API writes a line of log for every request, as in its
image; rate limits are off."""


def measure(kafka: KafkaSettings, scratch: Path) -> Section:
    """Both servers in turns."""
    database = mongodb.start(scratch / "serving", free_port())
    try:
        return _measure(kafka, f"{database.url}/plumbline", scratch)
    finally:
        database.stop()


def _measure(kafka: KafkaSettings, url: str, scratch: Path) -> Section:
    key, port = asyncio.run(_fill(url)), free_port()
    environment = {
        "PLUMBLINE_MONGODB_URL": url,
        "PLUMBLINE_SCORE_API_PORT": str(port),
        "PLUMBLINE_SCORE_API_REQUESTS_PER_MINUTE": "0",
        "PLUMBLINE_LOG_FORMAT": "json",
    }
    with service(["score-api", "serve"], kafka, scratch, **environment) as served:
        base, headers = f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=base, headers=headers, timeout=60, trust_env=False) as client:
            until(lambda: _answers(client), within_seconds=60, what="the API answers")
            served.require_running()
            with _bare(client, scratch) as bare:
                figures = [each for name in PATHS for each in _compare(name, port, bare, key)]
            exports = {name: _memory(served, client, name, path) for name, path in EXPORTS.items()}
    figures += [figure for figure, _ in exports.values()]
    remarks = [f"the export of {name} has {megabytes:,.1f} MB" for name, (_, megabytes) in exports.items()]
    return Section("Score API, against a bare route", ABOUT, figures, remarks)


async def _fill(url: str) -> str:
    """The key that reads what is filled in."""
    settings = Settings.model_validate({"PLUMBLINE_MONGODB_URL": url})
    async with composition.open_database(settings) as database:
        await posture.fill(database)
        services = composition.build_services(database, _ask_nobody)
        return await services.keys.create(posture.WHO, "bench", frozenset({Role.READ}))


async def _ask_nobody(_: object) -> None:
    """Nobody asks for a collection."""


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


@contextmanager
def _bare(client: httpx.Client, scratch: Path) -> Iterator[int]:
    """The port of a bare server with what the API answers."""
    folder, port = scratch / "bodies", free_port()
    folder.mkdir()
    for name, path in PATHS.items():
        (folder / name.replace(" ", "-")).write_bytes(client.get(path).raise_for_status().content)
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.bare_api", str(port), str(folder)], cwd=ROOT)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as asking:
            until(lambda: _is_there(asking), within_seconds=30, what="the bare server answers")
        yield port
    finally:
        process.terminate()
        process.wait()


def _is_there(client: httpx.Client) -> bool:
    try:
        return bool(client.get(f"/{next(iter(PATHS)).replace(' ', '-')}").is_success)
    except httpx.TransportError:
        return False


def _memory(served: MeasuredProcess, client: httpx.Client, name: str, path: str) -> tuple[Figure, float]:
    """The largest resident memory while an export is read, against that before it; and its size in MB."""
    before, most, size = served.resident_mb(), 0.0, 0
    with client.stream("GET", path) as answer:
        for some in answer.raise_for_status().iter_bytes(1024 * 1024):
            size += len(some)
            most = max(most, served.resident_mb())
    figure = Figure(f"full export of {name}: memory", "MB", [most], [before], "before it", MOST_MEMORY, "ratio")
    return figure, size / 1e6


def _compare(name: str, port: int, bare: int, key: str) -> Iterator[Figure]:
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    for _ in range(REPETITIONS):
        ours.append(_load(port, PATHS[name], f"Authorization: Bearer {key}\r\n"))
        theirs.append(_load(bare, f"/{name.replace(' ', '-')}", ""))
    sides = {what: ([each[what] for each in ours], [each[what] for each in theirs]) for what in ours[0]}
    yield Figure(f"{name}: requests", "/s", *sides["per_second"], "bare route", LEAST_THROUGHPUT, "ratio")
    yield Figure(f"{name}: p99", "s", *sides["p99"], "bare route", MOST_P99, "ratio")


def _load(port: int, path: str, headers: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.load", str(port), path, str(CONNECTIONS), str(SECONDS)]
    done = subprocess.run(command, input=headers, capture_output=True, text=True, check=True, cwd=ROOT)
    found: dict[str, float] = json.loads(done.stdout)
    return found
