"""The stand-ins answer as the products do: verbs, errors, limits, pages, faults, at any size."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from plumbline_simulators.credentials import Credentials
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.servicenow.instance import Instance

from tests.integration.parts import BIN, Simulated, simulated
from tests.polling import free_port, until

FORM = {
    "grant_type": "client_credentials",
    "client_id": Credentials.client_id,
    "client_secret": Credentials.client_secret,
}
TOKEN_PATHS = {"salesforce": "/services/oauth2/token", "servicenow": "/oauth_token.do"}
READS = {"salesforce": "/services/data/v66.0/limits", "servicenow": "/api/now/table/sys_user?sysparm_limit=1"}
QUERY, TOOLING = "/services/data/v66.0/query", "/services/data/v66.0/tooling/query"


@contextmanager
def _client(url: str, product: str) -> Iterator[httpx.Client]:
    """A client with a token."""
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        token = client.post(TOKEN_PATHS[product], data=FORM).raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


@pytest.fixture(params=["salesforce", "servicenow"])
def org(request: pytest.FixtureRequest) -> Iterator[Simulated]:
    """Each product in turn."""
    with simulated(Org(users=700) if request.param == "salesforce" else Instance(users=700)) as running:
        yield running


@pytest.fixture
def client(org: Simulated) -> Iterator[httpx.Client]:
    with _client(org.url, org.product) as opened:
        yield opened


@pytest.fixture
def salesforce() -> Iterator[httpx.Client]:
    with simulated(Org(users=5000)) as running, _client(running.url, "salesforce") as opened:
        yield opened


@pytest.fixture
def servicenow() -> Iterator[httpx.Client]:
    with simulated(Instance(users=700)) as running, _client(running.url, "servicenow") as opened:
        yield opened


@pytest.mark.parametrize("fault", [[], [{"kind": "503_html"}]])
@pytest.mark.parametrize("verb", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_every_verb_but_get_is_refused_and_counted(
    org: Simulated, client: httpx.Client, verb: str, fault: list[dict[str, Any]]
) -> None:
    org.fail(*fault)
    paths = [READS[org.product], "/anything/else"] + ([] if verb == "POST" else [TOKEN_PATHS[org.product]])
    for path in paths:
        assert client.request(verb, path).status_code == 405
    assert org.requests[f"{verb} refused"] == len(paths)


def test_a_token_is_asked_for_by_post_alone(org: Simulated, client: httpx.Client) -> None:
    assert client.get(TOKEN_PATHS[org.product]).status_code == 405
    assert org.requests == {"POST token": 1, "GET refused": 1}


@pytest.mark.parametrize(
    "header", ["", "Bearer wrong", "Basic !!!", "Basic d3Jvbmc6d3Jvbmc=", "Basic /w==", "Unheard of"]
)
def test_without_a_valid_token_the_answer_is_401(org: Simulated, client: httpx.Client, header: str) -> None:
    answer = client.get(READS[org.product], headers={"Authorization": header})
    assert answer.status_code == 401
    if org.product == "salesforce":
        assert answer.json() == [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
    else:
        assert answer.json()["error"]["message"] == "User Not Authenticated"
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="Service-now"'


def test_wrong_credentials_are_refused_in_the_products_own_words(org: Simulated, client: httpx.Client) -> None:
    answer = client.post(TOKEN_PATHS[org.product], data={**FORM, "client_secret": "wrong"})
    if org.product == "salesforce":
        assert answer.status_code == 400
        assert answer.json() == {"error": "invalid_client", "error_description": "invalid client credentials"}
    else:
        assert answer.status_code == 401
        assert answer.json() == {"error_description": "access_denied", "error": "server_error"}


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Id FRM User", "MALFORMED_QUERY"),
        ("SELECT Foo FROM User", "INVALID_FIELD"),
        ("SELECT Id FROM User WHERE Foo = 1", "INVALID_FIELD"),
        ("SELECT Id FROM Nothing", "INVALID_TYPE"),
    ],
)
def test_a_wrong_query_is_refused_as_salesforce_does(salesforce: httpx.Client, soql: str, code: str) -> None:
    answer = salesforce.get(QUERY, params={"q": soql})
    assert answer.status_code == 400
    assert [error["errorCode"] for error in answer.json()] == [code]
    assert answer.headers["Sforce-Limit-Info"].startswith("api-usage=")


def test_every_salesforce_answer_counts_against_the_limit(salesforce: httpx.Client) -> None:
    answers = [salesforce.get(QUERY, params={"q": "SELECT COUNT() FROM User"}) for _ in range(3)]
    used = [int(answer.headers["Sforce-Limit-Info"].removeprefix("api-usage=").split("/")[0]) for answer in answers]
    assert used == [1, 2, 3]
    assert salesforce.get("/services/data/v66.0/limits").json()["DailyApiRequests"]["Remaining"] == 100_000 - 4


@pytest.mark.parametrize(("batch", "pages"), [(None, [2000, 2000, 1000]), ("batchSize=200", [200] * 25)])
def test_salesforce_pages_are_followed_to_the_end(
    salesforce: httpx.Client, batch: str | None, pages: list[int]
) -> None:
    headers = {"Sforce-Query-Options": batch} if batch else {}
    page = salesforce.get(QUERY, params={"q": "SELECT Id FROM User"}, headers=headers).json()
    found = [page]
    while not page["done"]:
        page = salesforce.get(page["nextRecordsUrl"], headers=headers).json()
        found.append(page)
    assert [len(page["records"]) for page in found] == pages
    assert {page["totalSize"] for page in found} == {5000}
    assert len({record["Id"] for page in found for record in page["records"]}) == 5000


def test_salesforce_pages_may_be_shorter_than_asked(salesforce: httpx.Client) -> None:
    salesforce.put("/__simulator/faults", json=[{"kind": "short_pages"}])
    page = salesforce.get(QUERY, params={"q": "SELECT Id FROM User"}).json()
    assert (len(page["records"]), page["done"], page["totalSize"]) == (200, False, 5000)


def test_servicenow_counts_before_rows_are_trimmed_and_links_the_next_page(servicenow: httpx.Client) -> None:
    query: dict[str, str | int] = {"sysparm_limit": 300, "sysparm_query": "ORDERBYsys_id", "sysparm_fields": "sys_id"}
    first = servicenow.get("/api/now/table/sys_user", params=query)
    assert len(first.json()["result"]) == 300
    assert first.headers["X-Total-Count"] == "700"
    links = {link.split(";rel=")[1].strip('"') for link in first.headers["Link"].split(",") if ";rel=" in link}
    assert links == {"first", "prev", "next", "last"}
    servicenow.put("/__simulator/faults", json=[{"kind": "short_pages"}])
    short = servicenow.get("/api/now/table/sys_user", params=query)
    assert len(short.json()["result"]) < 300
    assert short.headers["X-Total-Count"] == "700"


def test_servicenow_refuses_in_its_envelope(servicenow: httpx.Client) -> None:
    unknown = servicenow.get("/api/now/table/sys_unheard_of")
    assert (unknown.status_code, unknown.json()["error"]["message"]) == (400, "Invalid table sys_unheard_of")
    nobody = {"sysparm_query": "user_name=nobody"}
    assert servicenow.get("/api/now/table/sys_user", params=nobody).json() == {"result": []}
    old = servicenow.get("/api/now/v1/table/sys_user", params=nobody)
    assert (old.status_code, old.json()["error"]["message"]) == (404, "No Record found")


@pytest.mark.parametrize(
    ("kind", "status", "content"),
    [
        ("429", 429, "application/json"), ("503_html", 503, "text/html"), ("503_json", 503, "application/json"),
        ("hibernation", 200, "text/html"), ("login_page", 200, "text/html"), ("expired_token", 401, "application/json"),
    ],
)  # fmt: skip
def test_a_fault_is_on_as_often_as_asked_and_then_off(
    org: Simulated, client: httpx.Client, kind: str, status: int, content: str
) -> None:
    org.fail({"kind": kind, "times": 1})
    failed = client.get(READS[org.product])
    assert failed.status_code == status
    assert failed.headers["content-type"].startswith(content)
    if kind == "429":
        assert {"retry-after", "x-ratelimit-limit", "x-ratelimit-reset"} <= set(failed.headers)
    with _client(org.url, org.product) as again:
        assert again.get(READS[org.product]).status_code == 200


def test_a_token_request_does_not_use_up_an_expired_token(org: Simulated, client: httpx.Client) -> None:
    org.fail({"kind": "expired_token", "times": 1})
    with _client(org.url, org.product) as again:
        assert again.get(READS[org.product]).status_code == 401


def test_broken_json_is_cut_in_the_middle(org: Simulated, client: httpx.Client) -> None:
    whole = client.get(READS[org.product]).content
    org.fail({"kind": "broken_json"})
    answer = client.get(READS[org.product])
    assert answer.status_code == 200
    assert 0 < len(answer.content) < len(whole)


@pytest.mark.parametrize(
    "body", [b"[]x", b'[{"kind": "unheard of"}]', b'[{"match": "no kind"}]', b'[{"kind": "429", "unheard": 1}]', b"7"]
)
def test_a_wrong_fault_is_said_and_changes_nothing(org: Simulated, client: httpx.Client, body: bytes) -> None:
    answer = client.put("/__simulator/faults", content=body)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert client.get(READS[org.product]).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null"])
def test_a_wrong_change_is_said(client: httpx.Client, body: bytes) -> None:
    assert client.put("/__simulator/settings/requireHttpOnly", content=body).status_code == 422


def test_an_unknown_setting_names_the_nearest(client: httpx.Client, org: Simulated) -> None:
    wrong, right = {
        "salesforce": ("sessionSettings.requireHttpOnli", "sessionSettings.requireHttpOnly"),
        "servicenow": ("glide.soap.strict_securty", "glide.soap.strict_security"),
    }[org.product]
    answer = client.put(f"/__simulator/settings/{wrong}", json={"value": "true"})
    assert answer.status_code == 404
    assert right in answer.json()["error"]


@pytest.mark.parametrize(
    ("org", "hidden", "seen"),
    [(Org(seed="restricted"), f"{TOOLING}?q=SELECT+Id+FROM+RemoteProxy", f"{QUERY}?q=SELECT+Id+FROM+User"),
     (Instance(seed="restricted"), "/api/now/table/user_multifactor_auth", "/api/now/table/sys_user?sysparm_limit=1")],
)  # fmt: skip
def test_a_restricted_org_hides_what_the_user_may_not_read(org: Org | Instance, hidden: str, seen: str) -> None:
    with simulated(org) as running, _client(running.url, running.product) as client:
        assert client.get(hidden).status_code in (400, 403)
        assert client.get(seen).status_code == 200


@pytest.mark.parametrize("made", [Org(users=0), Instance(users=0)], ids=["salesforce", "servicenow"])
def test_an_org_without_users_has_no_row_of_a_user(made: Org | Instance) -> None:
    of_users = {
        "User", "UserLogin", "TwoFactorMethodsInfo", "PermissionSetAssignment",
        "sys_user", "sys_user_has_role", "user_multifactor_auth",
    }  # fmt: skip
    read = {name: list(table.rows(None)) for name, table in made.tables().items()}
    assert [name for name in read if name in of_users and read[name]] == []
    assert of_users & set(read)
    with simulated(made) as running, _client(running.url, running.product) as client:
        assert _read_users(client, running.product) == 0
        if isinstance(made, Instance):
            for name in read:
                assert client.get(f"/api/now/table/{name}").status_code == 200
        else:
            found = client.get(QUERY, params={"q": "SELECT Id FROM PermissionSetAssignment"}).json()
            assert (found["totalSize"], found["done"]) == (0, True)


def _serve(product: str, users: int, log: Path) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    command = [str(BIN / "plumbline-simulator"), "serve", f"--product={product}", f"--users={users}", f"--port={port}"]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"

    def listens() -> bool:
        try:
            return httpx.get(f"{url}/__simulator/requests", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    until(listens, within_seconds=30, what=f"the {product} simulator listens")
    return process, url


def _read_users(client: httpx.Client, product: str) -> int:
    found = 0
    if product == "salesforce":
        page = client.get(QUERY, params={"q": "SELECT Id, Username, Profile.Name FROM User"}).json()
        found = len(page["records"])
        while not page["done"]:
            page = client.get(page["nextRecordsUrl"]).json()
            found += len(page["records"])
        return found
    query: dict[str, str | int] = {"sysparm_query": "ORDERBYsys_id", "sysparm_limit": 2000}
    while rows := client.get("/api/now/table/sys_user", params={**query, "sysparm_offset": found}).json()["result"]:
        found += len(rows)
    return found


@pytest.mark.parametrize("product", ["salesforce", "servicenow"])
def test_a_hundred_thousand_users_cost_the_simulator_no_memory(product: str, tmp_path: Path) -> None:
    resident = {}
    for users in (1000, 100_000):
        process, url = _serve(product, users, tmp_path / "log")
        try:
            with _client(url, product) as client:
                assert _read_users(client, product) == users
            resident[users] = psutil.Process(process.pid).memory_info().rss
        finally:
            process.terminate()
            process.wait(20)
    assert resident[100_000] < 1.3 * resident[1000]
