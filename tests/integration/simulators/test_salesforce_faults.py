"""Each kind of fault does what it says, in the phase that was asked for, and leaves the rest alone."""

import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from plumbline_simulators.credentials import Credentials
from plumbline_simulators.faults import EFFECTS, KINDS, PHASES
from plumbline_simulators.salesforce.app import app
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.salesforce.tokens import TOKEN_ERRORS

from tests.integration.parts import Simulated, simulated
from tests.integration.simulators.in_process import client as in_process

TOKEN = "/services/oauth2/token"
QUERY = "/services/data/v66.0/query"
FORM = {
    "grant_type": "client_credentials",
    "client_id": Credentials.client_id,
    "client_secret": Credentials.client_secret,
}
USERS = 6500
"""Four pages."""


@pytest.fixture
def client() -> httpx.Client:
    opened = in_process(app(Org(users=USERS)))
    token = opened.post(TOKEN, data=FORM).json()["access_token"]
    opened.headers["Authorization"] = f"Bearer {token}"
    return opened


def fail(client: httpx.Client, kind: str, **more: Any) -> None:
    client.put("/__simulator/faults", json=[{"kind": kind, **more}]).raise_for_status()


def statuses(client: httpx.Client) -> list[int]:
    """The status of each page; a page that fails is left out by going to the next one by hand."""
    found, path = [], f"{QUERY}?q=SELECT+Id+FROM+User"
    for start in range(0, USERS, 2000):
        answer = client.get(path)
        found.append(answer.status_code)
        if start == 0 and answer.status_code != 200:
            return found
        if start == 0:
            locator = answer.json()["nextRecordsUrl"].rpartition("-")[0]
        path = f"{locator}-{start + 2000}"
    return found


def read(client: httpx.Client) -> tuple[list[str], list[int]]:
    """All ids of users as the pages have them, and the totals they tell."""
    page = client.get(QUERY, params={"q": "SELECT Id FROM User"}).json()
    pages = [page]
    while not page["done"]:
        page = client.get(page["nextRecordsUrl"]).json()
        pages.append(page)
    return [record["Id"] for page in pages for record in page["records"]], [page["totalSize"] for page in pages]


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("any", [503]),
        ("first", [503]),
        ("middle", [200, 503, 503, 200]),
        ("last", [200, 200, 200, 503]),
        ("token", [200, 200, 200, 200]),
    ],
)
def test_a_fault_takes_the_page_of_its_phase_alone(phase: str, expected: list[int], client: httpx.Client) -> None:
    fail(client, "503_html", phase=phase)
    assert statuses(client) == expected
    assert client.post(TOKEN, data=FORM).status_code == (503 if phase in ("any", "token") else 200)
    assert client.get("/services/data/v66.0/limits").status_code == (503 if phase in ("any", "first") else 200)


@pytest.mark.parametrize("phase", ["middle", "last"])
def test_looking_which_page_it_is_costs_no_call_of_the_limit(phase: str, client: httpx.Client) -> None:
    fail(client, "wrong_total", phase=phase)
    read(client)
    assert client.get("/__simulator/requests").json() == {"POST token": 1, "GET query": 4}
    used = client.get("/services/data/v66.0/limits").headers["Sforce-Limit-Info"]
    assert used == "api-usage=5/100000"


def test_a_fault_of_a_phase_is_counted_when_it_strikes(client: httpx.Client) -> None:
    fail(client, "502", phase="middle", times=1)
    assert statuses(client) == [200, 502, 200, 200]


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("410", 410, "UNSUPPORTED_API_VERSION"),
        ("414", 414, "URI Too Long"),
        ("420", 420, "No route"),
        ("502", 502, "Bad Gateway"),
        ("500_timeout", 500, "QUERY_TIMEOUT"),
        ("concurrent_limit", 403, "Concurrent API Requests"),
        ("empty_body", 200, ""),
    ],
)
def test_an_error_of_the_vendor_is_answered_in_its_form(
    kind: str, status: int, said: str, client: httpx.Client
) -> None:
    fail(client, kind)
    answer = client.get(f"{QUERY}?q=SELECT+Id+FROM+User")
    assert answer.status_code == status
    assert said in answer.text
    assert bool(answer.text) is bool(said)


def test_a_cursor_that_has_ended_is_said_to_have(client: httpx.Client) -> None:
    fail(client, "expired_locator")
    assert statuses(client) == [200, 400, 400, 400]
    page = client.get(f"{QUERY}?q=SELECT+Id+FROM+User").json()
    assert client.get(page["nextRecordsUrl"]).json()[0]["errorCode"] == "INVALID_QUERY_LOCATOR"


@pytest.mark.parametrize(
    ("kind", "seen", "different", "total"),
    [
        ("duplicate_rows", USERS + 1, USERS, USERS),
        ("lost_rows", USERS - 1, USERS - 1, USERS),
        ("changed_order", USERS, USERS - 1, USERS),
        ("wrong_total", USERS, USERS, USERS + 3),
    ],
)
def test_rows_are_spoilt_on_the_last_page_as_asked(
    kind: str, seen: int, different: int, total: int, client: httpx.Client
) -> None:
    fail(client, kind, phase="last")
    ids, totals = read(client)
    assert (len(ids), len(set(ids))) == (seen, different)
    assert totals == [USERS, USERS, USERS, total]


@pytest.mark.parametrize(("code", "description"), TOKEN_ERRORS)
def test_every_token_error_can_be_had(code: str, description: str, client: httpx.Client) -> None:
    fail(client, "token_error", code=code, description=description)
    answer = client.post(TOKEN, data=FORM)
    if code == "REQUEST_LIMIT_EXCEEDED":
        assert (answer.status_code, answer.json()) == (403, [{"message": description, "errorCode": code}])
    else:
        assert (answer.status_code, answer.json()) == (400, {"error": code, "error_description": description})
    assert client.get("/services/data/v66.0/limits").status_code == 200


@pytest.mark.parametrize(
    ("kind", "status", "host"),
    [("redirect_token", 307, "login.example.net"), ("private_redirect", 302, "169.254.169.254")],
)
def test_a_token_request_is_led_away(kind: str, status: int, host: str, client: httpx.Client) -> None:
    fail(client, kind)
    answer = client.post(TOKEN, data=FORM)
    assert answer.status_code == status
    assert httpx.URL(answer.headers["location"]).host == host
    data = client.get("/services/data/v66.0/limits").status_code
    assert data == (200 if kind == "redirect_token" else 302)


def test_the_right_body_may_come_under_a_wrong_name(client: httpx.Client) -> None:
    right = client.get(f"{QUERY}?q=SELECT+Id+FROM+Profile")
    fail(client, "wrong_content_type")
    wrong = client.get(f"{QUERY}?q=SELECT+Id+FROM+Profile")
    assert wrong.json() == right.json()
    assert wrong.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("kind", KINDS)
def test_the_list_says_what_each_kind_does(kind: str, client: httpx.Client) -> None:
    assert client.get("/__simulator/faults").json()["kinds"][kind] == EFFECTS[kind]


def test_an_unknown_phase_is_refused_with_those_that_there_are(client: httpx.Client) -> None:
    answer = client.put("/__simulator/faults", json=[{"kind": "429", "phase": "later"}])
    assert answer.status_code == 422
    assert all(phase in answer.json()["error"] for phase in PHASES)


def test_a_fault_of_the_other_product_is_ignored(client: httpx.Client) -> None:
    fail(client, "truncated_result")
    assert statuses(client) == [200] * 4


@pytest.fixture
def served() -> Iterator[Simulated]:
    with simulated(Org()) as running:
        yield running


def test_a_bomb_is_small_on_the_wire_and_a_gigabyte_unpacked(served: Simulated) -> None:
    served.fail({"kind": "gzip_bomb"})
    unpacker, wire, unpacked = zlib.decompressobj(zlib.MAX_WBITS | 16), 0, 0
    with httpx.stream("GET", f"{served.url}{QUERY}", trust_env=False, timeout=60) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        for part in answer.iter_raw():
            wire += len(part)
            while part:
                unpacked += len(unpacker.decompress(part, 1 << 20))
                part = unpacker.unconsumed_tail
            if unpacked > 1 << 26:
                break
    assert unpacked > 200 * wire


@pytest.mark.parametrize("kind", ["slow_drip", "huge_body"])
def test_a_body_without_end_goes_on(kind: str, served: Simulated) -> None:
    served.fail({"kind": kind, "seconds": 0.01})
    with httpx.stream("GET", f"{served.url}{QUERY}", trust_env=False) as answer:
        parts = [len(part) for _, part in zip(range(20), answer.iter_raw(), strict=False)]
    assert len(parts) == 20
    assert (sum(parts) < 200) is (kind == "slow_drip")


def test_a_header_of_a_million_characters_is_more_than_a_client_takes(served: Simulated) -> None:
    served.fail({"kind": "huge_header"})
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{served.url}{QUERY}", trust_env=False)
