"""The evaluator service against a plain aiokafka loop, on the same broker and the same records."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from aiokafka import AIOKafkaProducer
from plumbline_collector.collection import Spooled
from plumbline_collector.publisher import Publisher
from plumbline_contracts import envelope
from plumbline_contracts.events import Product, SnapshotCompleted
from plumbline_contracts.kafka import KafkaSettings
from plumbline_evaluator.sources.file import SnapshotFile
from plumbline_local.kafka import KafkaBroker

from tests.bench.figures import Figure, Section
from tests.bench.processes import service
from tests.bench.topics import Evaluations, evaluations, fresh_topics

REPETITIONS = 5
SNAPSHOTS_OF_EACH_PRODUCT = 3
WITHIN_SECONDS = 120.0

ABOUT = """\
Rows per second from the moment the completions are sent to `config-snapshots` until the last part of the last
evaluation can be read on `control-results`: the evaluator service end to end (Faust, reading the chunks by offset
range, digests, JSON, judging, results in parts, acknowledgements), one process. The input is the snapshots of the
10,000-user orgs, several times over. The reference is a plain aiokafka loop on the same broker: it takes the same
completions, reads the same chunks as bytes, sends the very bytes that the evaluator sent, waits for the
acknowledgements and commits; it decodes and judges nothing, so the ratio is the price of all that the evaluator does.
Its reader waits 5 ms for records at the end of a topic: with the client's own 500 ms it would stand still for most
of the time, and the ratio would flatter the evaluator."""


def measure(started: KafkaBroker, files: Mapping[Product, Path], scratch: Path) -> Section:
    """Both loops in turns."""
    return asyncio.run(_measure(started, files, scratch))


async def _measure(started: KafkaBroker, files: Mapping[Product, Path], scratch: Path) -> Section:
    # creating topics runs an event loop of its own
    ours, theirs = await asyncio.to_thread(fresh_topics, started), await asyncio.to_thread(fresh_topics, started)
    producer = AIOKafkaProducer(bootstrap_servers=started.bootstrap, max_request_size=2 * 1024 * 1024)
    await producer.start()
    try:
        with service(["evaluator", "run"], ours, scratch):
            async with evaluations(ours) as our_results, evaluations(theirs) as their_results:
                completed = [await _publish(producer, ours, file) for file in files.values()]
                await our_results.wait(len(completed), within_seconds=WITHIN_SECONDS)
                answers = _answers(our_results.values, scratch)
                with _plain_loop(ours, theirs, answers):
                    await _send(producer, theirs, completed)
                    await their_results.wait(len(completed), within_seconds=WITHIN_SECONDS)
                    return await _compare(producer, completed, (ours, our_results), (theirs, their_results))
    finally:
        await producer.stop()


async def _compare(
    producer: AIOKafkaProducer,
    completed: list[SnapshotCompleted],
    ours: tuple[KafkaSettings, Evaluations],
    theirs: tuple[KafkaSettings, Evaluations],
) -> Section:
    burst = completed * SNAPSHOTS_OF_EACH_PRODUCT
    rows = sum(dataset.row_count for each in burst for dataset in each.datasets)
    speeds: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPETITIONS):
        for (settings, results), found in zip((ours, theirs), speeds, strict=True):
            began = time.perf_counter()
            await _send(producer, settings, burst)
            await results.wait(len(burst), within_seconds=WITHIN_SECONDS)
            found.append(rows / (time.perf_counter() - began))
    remark = f"a repetition is {len(burst)} snapshots with {rows:,} rows"
    return Section(
        "Evaluator service", ABOUT, [Figure("rows, end to end", "/s", *speeds, "plain aiokafka loop")], [remark]
    )


async def _publish(producer: AIOKafkaProducer, settings: KafkaSettings, file: Path) -> SnapshotCompleted:
    publisher = Publisher(producer, settings, "/bench", deadline_seconds=WITHIN_SECONDS)
    return await publisher.publish(Spooled(file, SnapshotFile(file).completed))


async def _send(producer: AIOKafkaProducer, settings: KafkaSettings, burst: list[SnapshotCompleted]) -> None:
    topic = settings.topic("config-snapshots")
    sent = [
        await producer.send(
            topic, envelope.encode(each), key=each.key.encode(), headers=envelope.headers(each, source="/bench")
        )
        for each in burst
    ]
    await asyncio.gather(*sent)


def _answers(values: list[bytes], scratch: Path) -> Path:
    """What the evaluator sent, by instance."""
    found: dict[str, list[str]] = {}
    for value in values:
        found.setdefault(json.loads(value)["instance"], []).append(value.decode())
    path = scratch / "answers.json"
    path.write_text(json.dumps(found))
    return path


@contextmanager
def _plain_loop(ours: KafkaSettings, theirs: KafkaSettings, answers: Path) -> Iterator[None]:
    topics = [theirs.topic("config-snapshots"), ours.topic("snapshot-chunks"), theirs.topic("control-results")]
    command = [sys.executable, "-m", "tests.bench.plain_consumer", ours.kafka_bootstrap, *topics, str(answers)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        yield
    finally:
        process.terminate()
        process.wait()
