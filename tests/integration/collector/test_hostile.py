"""A server that plays Salesforce and means harm: it costs its own instance, and tells nobody our secret."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from plumbline_collector import collection, connections
from plumbline_collector.budget import CallBudget
from plumbline_collector.collection import Spooled
from plumbline_collector.connectors.patience import FAILURES_IN_A_ROW
from plumbline_collector.connectors.saas_client import ATTEMPTS
from plumbline_collector.errors import CredentialsError, UnreachableError
from plumbline_contracts.events import DatasetState, RequestReason
from plumbline_simulators.credentials import Credentials
from plumbline_simulators.salesforce.org import Org

from tests.integration.parts import simulated, write_connections

SECRET = "unseen-hunter2 & co"
TOKEN = json.dumps({"access_token": "a-token-of-theirs"}).encode()
Answers = Callable[[str, bytes], tuple[int, dict[str, str], bytes]]


@contextmanager
def _server(answers: Answers) -> Iterator[tuple[str, list[str]]]:
    """The address of a server that answers (path, body) so, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            asked.append(self.path)
            status, headers, content = answers(self.path, body)
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer  # noqa: N815 - the names of the base class

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


async def _collect(url: str, folder: Path, *, is_simulated: bool = False, **changes: Any) -> Spooled:
    (folder / "secret").write_text(Credentials.client_secret if is_simulated else SECRET)
    client_id = Credentials.client_id if is_simulated else "cid"
    auth = {"method": "client_credentials", "client_id": client_id, "client_secret": {"file": "secret"}}
    entry = {
        "tenant": "t", "instance": "i", "product": "salesforce", "url": url, "auth": auth,
        "allow_http": True, "allow_private_network": True,
    }  # fmt: skip
    (connection,) = connections.load(write_connections(folder / "connections.yaml", entry))
    return await collection.collect(
        connection,
        folder / "out.spool",
        request_id="r",
        reason=RequestReason.USER,
        budget=CallBudget(1.0),
        started_at=collection.start_after(None),
        **changes,
    )


@pytest.mark.parametrize("field", ["error", "error_description"])
async def test_a_token_endpoint_that_quotes_the_request_learns_us_nothing(field: str, tmp_path: Path) -> None:
    def echo(_: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        said = {"error": "invalid_client", "error_description": "no", field: f"bad {body.decode()} {SECRET}"}
        return 400, {}, json.dumps(said).encode()

    with _server(echo) as (url, _), pytest.raises(CredentialsError) as caught:
        await _collect(url, tmp_path)
    assert "hunter2" not in str(caught.value)
    assert "***" in str(caught.value)


async def test_an_answer_that_quotes_the_token_does_not_bring_it_into_the_snapshot(tmp_path: Path) -> None:
    def answers(path: str, _: bytes) -> tuple[int, dict[str, str], bytes]:
        if path.endswith("/token"):
            return 200, {}, TOKEN
        error = [{"errorCode": "INVALID_TYPE", "message": "Authorization: Bearer a-token-of-theirs"}]
        return 400, {}, json.dumps(error).encode()

    with _server(answers) as (url, _):
        spooled = await _collect(url, tmp_path)
    assert {summary.state for summary in spooled.completed.datasets} == {DatasetState.DENIED}
    assert "a-token-of-theirs" not in spooled.path.read_text()


async def test_half_a_character_in_a_row_harms_nobody(tmp_path: Path) -> None:
    record = {"Id": "00D000000000001AAA", "Name": "half \ud800", "Username": "\udfff", "PermissionsViewAllUsers": True}

    def answers(path: str, _: bytes) -> tuple[int, dict[str, str], bytes]:
        page = {"totalSize": 1, "done": True, "records": [record]}
        return 200, {}, TOKEN if path.endswith("/token") else json.dumps(page).encode()

    with _server(answers) as (url, _):
        spooled = await _collect(url, tmp_path)
    lines = [json.loads(line) for line in spooled.path.read_bytes().decode("utf-8").splitlines()]
    (organization,) = [line for line in lines if line.get("dataset") == "organization"]
    assert organization["rows"][0]["name"] == "half \ufffd"


async def test_an_org_whose_limit_is_used_up_is_asked_once(tmp_path: Path) -> None:
    def answers(path: str, _: bytes) -> tuple[int, dict[str, str], bytes]:
        if path.endswith("/token"):
            return 200, {}, TOKEN
        error = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}]
        return 429, {"Retry-After": "-1"}, json.dumps(error).encode()

    with (
        _server(answers) as (url, asked),
        pytest.raises(UnreachableError, match="API limit is reached: TotalRequests"),
    ):
        await _collect(url, tmp_path)
    assert len([path for path in asked if not path.endswith("/token")]) == 1


async def test_an_org_that_fails_again_and_again_is_left_alone(tmp_path: Path) -> None:
    def answers(path: str, _: bytes) -> tuple[int, dict[str, str], bytes]:
        return (200, {}, TOKEN) if path.endswith("/token") else (503, {"Retry-After": "0"}, b"{}")

    with _server(answers) as (url, asked):
        spooled = await _collect(url, tmp_path, keep_unread=True)
    assert {summary.state for summary in spooled.completed.datasets} == {DatasetState.ERROR}
    assert len([path for path in asked if not path.endswith("/token")]) == FAILURES_IN_A_ROW * ATTEMPTS


async def test_a_token_that_fits_no_header_is_refused_without_being_quoted(tmp_path: Path) -> None:
    def answers(path: str, _: bytes) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps({"access_token": "unseen-token\nSet-Cookie: x"}).encode()

    with _server(answers) as (url, _), pytest.raises(UnreachableError, match="no header can carry") as caught:
        await _collect(url, tmp_path)
    assert "unseen" not in str(caught.value)


async def test_datasets_that_fail_one_after_the_other_end_the_asking(tmp_path: Path) -> None:
    """Each answer is well-formed and none is what was asked for."""

    def answers(path: str, _: bytes) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, TOKEN if path.endswith("/token") else b'{"hello": "there"}'

    with _server(answers) as (url, asked):
        spooled = await _collect(url, tmp_path, keep_unread=True)
    assert {summary.state for summary in spooled.completed.datasets} == {DatasetState.ERROR}
    assert len(asked) < 20


async def test_one_answer_that_nobody_foresaw_costs_one_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def odd(_: object) -> None:
        raise KeyError("a shape that is in no documentation")

    monkeypatch.setattr("plumbline_collector.connectors.salesforce.org.organization", odd)
    with simulated(Org(users=20)) as org:
        spooled = await _collect(org.url, tmp_path, is_simulated=True)
    states = {summary.name: summary.state for summary in spooled.completed.datasets}
    assert states.pop("organization") is DatasetState.ERROR
    assert DatasetState.ERROR not in states.values()
