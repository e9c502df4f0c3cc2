"""The projector against a plain loop that stores every record, on the same broker and the same database."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer
from plumbline_contracts import envelope
from plumbline_contracts.events import ControlDefinition, ControlResults
from plumbline_contracts.kafka import KafkaSettings
from plumbline_local import mongodb
from plumbline_local.kafka import KafkaBroker
from plumbline_score_api import app as composition
from plumbline_score_api.app import Database
from plumbline_score_api.settings import Settings

from tests.bench import posture
from tests.bench.figures import Figure, Section
from tests.bench.processes import MeasuredProcess, service
from tests.bench.topics import fresh_topics
from tests.polling import free_port, until

ROOT = Path(__file__).parents[2]
REPETITIONS = 3
PER_MINUTE = 1_000
WITHIN_SECONDS = 300.0
PACED_SECONDS = 30
PROJECTED = "plumbline_score_api_evaluations_projected_total"
LAG = 'plumbline_score_api_projection_lag_records{topic="control-results"}'

ABOUT = f"""\
One process of the role `project`, one core at most, with {posture.INSTANCES} instances of {posture.CONTROLS} controls
each, whose every evaluation changes three outcomes: from the moment the evaluations are on `control-results` until
readers were switched to the last of them, with findings, decisions, history and change log. The target is
{PER_MINUTE:,} evaluations a minute. The reference is a plain aiokafka loop that stores the same records as they are,
one durable write each, and commits. Then evaluations come at {PER_MINUTE:,} a minute, and the lag is looked at."""


def measure(started: KafkaBroker, scratch: Path) -> Section:
    """Both loops in turns, then the paced run."""
    database = mongodb.start(scratch / "projecting", free_port())
    try:
        return _measure(started, f"{database.url}/plumbline", scratch)
    finally:
        database.stop()


def _measure(started: KafkaBroker, url: str, scratch: Path) -> Section:
    ours, theirs, port = fresh_topics(started), fresh_topics(started), free_port()
    asyncio.run(_in(url, composition.prepare))
    environment = {"PLUMBLINE_MONGODB_URL": url, "PLUMBLINE_SCORE_API_HEALTH_PORT": str(port)}
    with service(["score-api", "project"], ours, scratch, **environment) as process:
        until(lambda: _metric(port, LAG) is not None, within_seconds=60, what="the projector runs")
        asyncio.run(_send(ours, "control-catalogue", posture.definitions()))
        runs = iter(range(10_000))
        _burst(ours, port, next(runs))
        with _plain_sink(theirs, url):
            speeds = [_both(ours, theirs, port, url, next(runs)) for _ in range(REPETITIONS)]
        lags = _paced(ours, port, next(runs))
        process.require_running()
        usage = _usage(process)
    figure = Figure(
        "evaluations projected",
        "/s",
        [ours for ours, _ in speeds],
        [theirs for _, theirs in speeds],
        "plain loop",
        PER_MINUTE / 60,
    )
    looks = ", ".join(f"{lag:.0f}" for lag in lags)
    paced = (
        f"at {PER_MINUTE:,} evaluations a minute for {PACED_SECONDS} s the lag was {looks} records, one after another"
    )
    return Section("Projector", ABOUT, [figure], [paced, usage])


def _usage(process: MeasuredProcess) -> str:
    used = process.stop()
    share = used.cpu_seconds / used.seconds
    return f"the projector used {share:.0%} of a core from start to end, and {used.peak_mb:.0f} MB at most"


def _metric(port: int, name: str) -> float | None:
    try:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    except httpx.TransportError:
        return None
    found = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(found[0]) if found else None


def _evaluations(run: int) -> list[ControlResults]:
    """One of each instance."""
    now = datetime.now(UTC) - timedelta(hours=1)
    return [posture.evaluation(number, run, now) for number in range(posture.INSTANCES)]


def _both(ours: KafkaSettings, theirs: KafkaSettings, port: int, url: str, run: int) -> tuple[float, float]:
    return _burst(ours, port, run), _stored(theirs, url, run)


def _burst(ours: KafkaSettings, port: int, run: int) -> float:
    """Evaluations a second."""
    events, before = _evaluations(run), _metric(port, PROJECTED) or 0
    began = time.perf_counter()
    asyncio.run(_send(ours, "control-results", events))
    done = before + len(events)
    until(lambda: (_metric(port, PROJECTED) or 0) >= done, within_seconds=WITHIN_SECONDS, what="all is projected")
    return len(events) / (time.perf_counter() - began)


def _stored(theirs: KafkaSettings, url: str, run: int) -> float:
    events, before = _evaluations(run), asyncio.run(_in(url, _count))
    began = time.perf_counter()
    asyncio.run(_send(theirs, "control-results", events))
    done = before + len(events)
    until(lambda: asyncio.run(_in(url, _count)) >= done, within_seconds=WITHIN_SECONDS, what="all is stored")
    return len(events) / (time.perf_counter() - began)


def _paced(ours: KafkaSettings, port: int, run: int) -> list[float]:
    """The lag, looked at six times while evaluations come at the target's pace."""
    batches = PACED_SECONDS * PER_MINUTE // 60 // posture.INSTANCES
    pause, lags = 60 * posture.INSTANCES / PER_MINUTE, []
    looks = max(1, batches // 6)
    for number in range(batches):
        began = time.perf_counter()
        asyncio.run(_send(ours, "control-results", _evaluations(run + number)))
        time.sleep(max(0.0, pause - (time.perf_counter() - began)))
        if number % looks == looks - 1:
            lags.append(_metric(port, LAG) or 0.0)
    return lags


async def _send(settings: KafkaSettings, topic: str, events: list[Any]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, max_request_size=2 * 1024 * 1024)
    await producer.start()
    try:
        sent = [await _put(producer, settings.topic(topic), event) for event in events]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def _put(producer: AIOKafkaProducer, topic: str, event: ControlResults | ControlDefinition) -> Any:
    headers = envelope.headers(event, source="/bench")
    return await producer.send(topic, envelope.encode(event), key=event.key.encode(), headers=headers)


async def _in(url: str, question: Callable[[Database], Any]) -> Any:
    async with composition.open_database(Settings.model_validate({"PLUMBLINE_MONGODB_URL": url})) as database:
        return await question(database)


async def _count(database: Database) -> int:
    return int(await database["sink"].count_documents({}))


@contextmanager
def _plain_sink(theirs: KafkaSettings, url: str) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.bench.plain_sink", theirs.kafka_bootstrap]
    process = subprocess.Popen([*command, theirs.topic("control-results"), url], cwd=ROOT)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
