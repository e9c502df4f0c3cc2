"""The role `serve` as a process: ports, signals, headers, logs."""

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import httpx
import psutil
import pytest
from plumbline_contracts.events import Outcome
from plumbline_score_api.audit.schemas import Action, AuditEntry

from tests.integration.score_api.events import Judged, result, status
from tests.integration.score_api.in_process import CONTROLS
from tests.integration.score_api.stage import Stage
from tests.polling import free_port, until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0(stage: Stage, number: signal.Signals) -> None:
    running, client = stage.serve()
    assert client.get("/v1/products").status_code == 200
    running.process.send_signal(number)
    assert running.process.wait(10) == 0
    assert "Traceback" not in running.service.text()


def test_a_key_never_reaches_the_log(stage: Stage) -> None:
    running, client = stage.serve(log_level="debug")
    secret = client.headers["authorization"].removeprefix("Bearer ")
    client.get("/v1/secure-score")
    client.get("/v1/nothing", params={"key": "x"})
    wrong = "plk_0123456789abcdef_" + "A" * 43
    assert client.get("/v1/products", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
    stage.ask(lambda database, _: database["instances"].insert_one({"_id": "contoso/x", "tenant": "contoso"}))
    assert client.get("/v1/instances").status_code == 500
    until(lambda: running.lines("request failed"), within_seconds=10, what="the bug is logged")
    assert running.service.stop() == 0
    for text in (secret, secret.split("_", 2)[2], wrong):
        assert text not in running.service.text()


def test_metrics_are_on_their_own_port(stage: Stage) -> None:
    running, client = stage.serve()
    client.get("/v1/products")
    client.get("/v1/products/salesforce")
    assert client.get("/metrics").status_code == 404
    assert httpx.get(f"{client.base_url}/metrics", trust_env=False).status_code == 401
    sample = 'plumbline_score_api_requests_total{route="/v1/products/{product}",status="404"}'
    assert running.metric(sample) == 1


def test_no_answer_names_the_server(stage: Stage) -> None:
    _, client = stage.serve()
    for path in ("/v1/products", "/healthz", "/nothing"):
        answer = client.get(path)
        assert "server" not in answer.headers
        assert "uvicorn" not in str(answer.headers).lower()


def test_head_has_no_body_on_the_wire(stage: Stage) -> None:
    _, client = stage.serve()
    head, got = client.head("/v1/products"), client.get("/v1/products")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(got.content))
    assert client.get("/v1/products", headers={"If-None-Match": got.headers["etag"]}).status_code == 304


def test_every_request_has_one_line_in_the_log(stage: Stage) -> None:
    running, client = stage.serve()
    trace = "0af7651916cd43dd8448eb211c80319c"
    client.get("/v1/products/salesforce", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    httpx.get(f"{client.base_url}/v1/products", trust_env=False)
    client.get("/healthz")
    lines = until(
        lambda: running.lines("request")[1:] and running.lines("request"), within_seconds=10, what="it is told"
    )
    known, unknown = lines
    assert (known["method"], known["route"], known["status"]) == ("GET", "/v1/products/{product}", 404)
    assert (known["tenant"], known["trace_id"]) == ("contoso", trace)
    assert known["caller"].startswith("key:")
    assert 0 < known["ms"] < 10_000
    assert (unknown["status"], unknown["route"]) == (401, "unmatched")
    assert not {"caller", "tenant"} & unknown.keys()


def test_the_log_of_requests_can_be_left_out(stage: Stage) -> None:
    running, client = stage.serve(access_log="false")
    client.get("/v1/products")
    assert running.service.stop() == 0
    assert not running.lines("request")


@pytest.mark.parametrize("what", ["port", "health_port"])
def test_a_taken_port_is_said(stage: Stage, what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = stage.start("serve", **{"port": free_port(), what: port})
        assert running.process.wait(30) == 1
    (line,) = running.lines("score-api-serve stops")
    assert f"127.0.0.1:{port} cannot be opened" in line["problem"]
    assert f"PLUMBLINE_SCORE_API_{what.upper()}" in line["problem"]
    assert "Traceback" not in running.service.text()


def test_a_wrong_setting_is_named_and_its_value_is_not(stage: Stage) -> None:
    running = stage.start("serve", port="s3cret")
    assert running.process.wait(30) == 2
    assert "port" in running.service.text()
    assert "s3cret" not in running.service.text()


def test_a_request_in_flight_is_answered_before_it_ends(stage: Stage) -> None:
    """A large page is asked for, and the signal comes while it is made."""
    projector = stage.project()
    stage.define(*CONTROLS)
    stage.send("instance-status", status())
    stage.judge(Judged(1, [result("C-1", Outcome.FAIL, exposed=2000)]))
    until(lambda: stage.count("exposed") == 4, within_seconds=30, what="it is projected")
    assert projector.service.stop() == 0
    running, client = stage.serve()
    with client.stream("GET", "/v1/recommendations/sales-eu/C-1/exposed?limit=500") as answer:
        running.process.terminate()
        assert len(answer.read()) > 10_000
    assert running.process.wait(10) == 0


@contextmanager
def _connected(client: httpx.Client, sent: str) -> Iterator[socket.socket]:
    """A connection to the API on which these bytes were sent."""
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as opened:
        opened.sendall(sent.encode())
        yield opened


def _half_a_scan(client: httpx.Client) -> str:
    """A request with a good key whose body never comes."""
    key = client.headers["authorization"]
    return f"POST /v1/instances/x/scan HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Length: 2\r\n\r\n"


@pytest.mark.parametrize("sent", ["", "GET / HT", "GET /healthz HTTP/1.1\r\nHost: x\r\n", "scan"])
def test_a_connection_that_sends_half_a_request_is_closed(stage: Stage, sent: str) -> None:
    _, client = stage.serve(request_timeout_seconds=1)
    whole = _half_a_scan(client) if sent == "scan" else sent
    with ExitStack() as held:
        waiting = [held.enter_context(_connected(client, whole)) for _ in range(50)]
        assert client.get("/v1/products").status_code == 200, "others are served meanwhile"
        assert [opened.recv(1) for opened in waiting] == [b""] * 50


def test_a_byte_now_and_then_does_not_keep_a_connection_open(stage: Stage) -> None:
    _, client = stage.serve(request_timeout_seconds=1)
    with _connected(client, "GET / HTTP/1.1\r\nX: ") as opened:
        opened.settimeout(0.05)
        until(lambda: _drips(opened), within_seconds=10, what="it is closed")


def _drips(opened: socket.socket) -> bool:
    """Send one more byte; whether the other side has closed."""
    try:
        opened.sendall(b"x")
        return opened.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_a_body_that_was_refused_unread_does_not_keep_a_connection_open(stage: Stage) -> None:
    _, client = stage.serve(request_timeout_seconds=1)
    with _connected(client, "POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\nx") as opened:
        assert opened.recv(12) == b"HTTP/1.1 401"
        opened.sendall(b"x")
        opened.settimeout(10)
        while opened.recv(4096):
            pass


def test_a_request_that_comes_in_pieces_is_answered_and_so_is_the_next(stage: Stage) -> None:
    _, client = stage.serve(request_timeout_seconds=5)
    with _connected(client, "GET /hea") as opened:
        opened.sendall(b"lthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert opened.recv(15) == b"HTTP/1.1 200 OK"
        opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        rest = b"".join(iter(lambda: opened.recv(4096), b""))
    assert rest.count(b"HTTP/1.1 200 OK") == 1


def test_too_many_requests_at_once_are_told_to_come_again(stage: Stage) -> None:
    running, client = stage.serve(requests_at_once=1, request_timeout_seconds=60)
    with _connected(client, _half_a_scan(client)):
        until(lambda: client.get("/v1/products").status_code == 503, within_seconds=10, what="it is full")
        refused = client.get("/v1/products")
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["retry-after"] == "1"
        assert "Too many requests" in refused.json()["detail"]
        with _connected(client, "GET / HT"):
            assert running.probe("/readyz") == 200, "the probes have a port of their own"
    until(lambda: client.get("/v1/products").status_code == 200, within_seconds=10, what="there is room again")
    left = 'plumbline_score_api_requests_total{route="/v1/instances/{instance}/scan",status="400"}'
    until(lambda: running.metric(left) == 1, within_seconds=10, what="the request that nobody ended is over")
    assert not running.lines("request failed")


@pytest.fixture
def long_answer(stage: Stage) -> str:
    """A path whose answer of ten megabytes no buffer on the way takes whole."""
    stage.ask(lambda database, _: database["audit"].insert_many([_entry(number) for number in range(500)]))
    return "/v1/audit?limit=500"


def test_a_client_that_never_reads_is_cut_off(stage: Stage, long_answer: str) -> None:
    running, client = stage.serve(answer_timeout_seconds=1)
    process = psutil.Process(running.process.pid)
    with ExitStack() as held:
        dead = [held.enter_context(_asking(client, long_answer)) for _ in range(3)]
        mine = {opened.getsockname()[1] for opened in dead}

        def are_held() -> set[int]:
            return mine & {each.raddr.port for each in process.net_connections("tcp") if each.raddr}

        asked = 'plumbline_score_api_requests_total{route="/v1/audit",status="200"}'
        until(lambda: running.metric(asked) == 3, within_seconds=60, what="all are answered, as far as the API goes")
        until(lambda: not are_held(), within_seconds=60, what="those that never read are cut off")
        assert client.get("/v1/products").status_code == 200


def test_a_client_that_reads_slowly_is_not_cut_off(stage: Stage, long_answer: str) -> None:
    _, client = stage.serve(answer_timeout_seconds=2)
    with _asking(client, long_answer) as slow:
        received: list[bytes] = []

        def takes_a_little() -> bool:
            received.append(slow.recv(65_536))
            assert received[-1], "who reads is not cut off"
            return b"".join(received[-2:]).endswith(b'"next_cursor":null}')

        until(takes_a_little, within_seconds=120, what="the answer is whole")
    assert sum(map(len, received)) > 10_000_000


@contextmanager
def _asking(client: httpx.Client, path: str) -> Iterator[socket.socket]:
    """A connection on which this is asked, and that takes little before it is read from."""
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        opened.settimeout(60)
        opened.connect((client.base_url.host, client.base_url.port))
        key = client.headers["authorization"]
        opened.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n\r\n".encode())
        yield opened


def _entry(number: int) -> dict[str, object]:
    """An entry of the audit trail with a long note."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    entry = AuditEntry(entry_id=f"e{number}", at=at, who="x", identity="x", action=Action.STATUS_SET, note="n" * 20_000)
    body = entry.model_dump_json()
    return {"_id": f"contoso/e{number}", "tenant": "contoso", "order": f"{number:06d}", "at": at, "body": body}


@pytest.mark.parametrize("path", ["/v1/products/", "/v1/secure-score/", "/healthz/"])
def test_a_slash_too_many_never_sends_a_caller_to_another_host(stage: Stage, path: str) -> None:
    _, client = stage.serve()
    answer = client.get(path, headers={"Host": "evil.example"})
    assert answer.status_code == 404
    assert "location" not in answer.headers
