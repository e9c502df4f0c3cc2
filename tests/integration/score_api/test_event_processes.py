"""Live events of the role `serve` as a process: budgets, metrics, a stop, and a second replica."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from plumbline_score_api.app import Database
from plumbline_score_api.changes.repository import ChangeLogRepository

from tests.integration.score_api.events import START
from tests.integration.score_api.listening import Block, change, parsed
from tests.integration.score_api.stage import Stage
from tests.polling import until

STREAM = "/v1/events"


class _Stream:
    """A stream that is open."""

    def __init__(self, response: httpx.Response) -> None:
        self.response, self._chunks, self._buffer = response, response.iter_raw(), b""
        self.last: str | None = None

    def block(self) -> Block | None:
        while b"\n\n" not in self._buffer:
            chunk = next(self._chunks, None)
            if chunk is None:
                return None
            self._buffer += chunk
        text, _, self._buffer = self._buffer.partition(b"\n\n")
        block = parsed(text.decode())
        self.last = block.id or self.last
        return block

    def event(self) -> Block:
        while (block := self.block()) is not None:
            if block.event:
                return block
        raise AssertionError("the stream ended")

    def read_on(self) -> None:
        """Read until the stream or its connection ends."""
        while self.block() is not None:
            pass


@contextmanager
def _stream(client: httpx.Client, last: str | None = None) -> Iterator[_Stream]:
    with client.stream("GET", STREAM, headers={"Last-Event-ID": last} if last else {}) as response:
        assert response.status_code == 200, response.read()
        opened = _Stream(response)
        assert opened.block() is not None
        yield opened


def _write(stage: Stage, *names: str, size: int = 0) -> None:
    async def append(database: Database) -> None:
        log = ChangeLogRepository(database)
        for start in range(0, len(names), 100):
            entries = [change(name, data={"text": "x" * size}) for name in names[start : start + 100]]
            await log.append("contoso", 0, entries)

    stage.ask(lambda database, _: append(database))


def test_a_signal_ends_streams_at_once_even_those_that_nobody_reads(stage: Stage) -> None:
    running, client = stage.serve()
    with ExitStack() as held:
        streams = [held.enter_context(_stream(client)) for _ in range(5)]
        stuck = held.enter_context(socket.socket())
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        stuck.connect((client.base_url.host, client.base_url.port))
        key = client.headers["authorization"]
        stuck.sendall(f"GET {STREAM} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n\r\n".encode())
        until(lambda: running.metric("plumbline_score_api_streams_open") == 6, within_seconds=10, what="all are open")
        _write(stage, *(f"n{number}" for number in range(1000)), size=8000)
        assert [streams[0].event().name for _ in range(1000)][-1] == "n999"
        started = time.monotonic()
        running.process.terminate()
        streams[0].read_on()
        assert running.process.wait(10) == 0
        assert time.monotonic() - started < 5, "far less than answers have to be finished"
    assert "Traceback" not in running.service.text()


def test_open_streams_do_not_keep_requests_out(stage: Stage) -> None:
    running, client = stage.serve(requests_at_once=2, streams_at_once=6, streams_per_tenant=5)
    with ExitStack() as held:
        for _ in range(5):
            held.enter_context(_stream(client))
        assert [client.get("/v1/products").status_code for _ in range(5)] == [200] * 5
        refused = client.get(STREAM)
        assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
        assert client.get("/v1/products").status_code == 200
        assert running.metric("plumbline_score_api_streams_open") == 5
    until(lambda: running.metric("plumbline_score_api_streams_open") == 0, within_seconds=10, what="all have gone")


def test_metrics_say_how_many_streams_there_are_what_they_were_told_and_how_late(stage: Stage) -> None:
    running, client = stage.serve()
    assert running.metric("plumbline_score_api_events_lag_seconds") == 0
    with _stream(client) as opened:
        _write(stage, "a", "b")
        assert [opened.event().name for _ in range(2)] == ["a", "b"]
        assert running.metric("plumbline_score_api_streams_open") == 1
        assert running.metric('plumbline_score_api_events_sent_total{kind="score_changed"}') == 2
        assert 0 < running.metric("plumbline_score_api_events_lag_seconds") < 5
    assert running.metric(f'plumbline_score_api_requests_total{{route="{STREAM}",status="200"}}') == 1


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "stopped"])
def test_a_second_replica_goes_on_where_the_first_one_ended(stage: Stage, is_killed: bool) -> None:
    first, client = stage.serve()
    second, other = stage.serve()
    with _stream(client) as opened, _stream(other) as lasting:
        _write(stage, "a", "b")
        assert [opened.event().name, opened.event().name] == ["a", "b"]
        if is_killed:
            first.service.kill()
        else:
            assert first.service.stop() == 0
        _write(stage, "c", "d")
        with _stream(other, opened.last) as again:
            _write(stage, "e")
            assert [again.event().name for _ in range(3)] == ["c", "d", "e"]
        assert [lasting.event().name for _ in range(5)] == ["a", "b", "c", "d", "e"]
    pulled = other.get(STREAM, params={"follow": "false", "since": START.isoformat()})
    assert pulled.text.count("event: score_changed") == 5
    assert second.probe("/readyz") == 200
