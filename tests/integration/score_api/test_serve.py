"""The role `serve` as a process: ports, signals, headers, logs."""

import signal
import socket

import httpx
import pytest
from plumbline_contracts.events import Outcome

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
    for text in (secret, secret.split("_")[2], wrong):
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
