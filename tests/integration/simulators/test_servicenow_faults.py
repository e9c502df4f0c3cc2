"""Faults that change a real answer of the simulated instance, and millions of rows that cost no memory and no time."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from plumbline_simulators.servicenow.instance import Instance

from tests.integration.parts import BIN
from tests.integration.simulators.servicenow_requests import FORM, TOKEN_PATH, Asked
from tests.polling import free_port, until

ORDERED = "ORDERBYsys_id"


@pytest.fixture
def asked() -> Asked:
    return Asked(Instance(users=100))


def _keys(asked: Asked, query: str = ORDERED, **parameters: int) -> list[str]:
    return [row["sys_id"] for row in asked.rows("sys_user", query, fields="sys_id", **parameters)]


def _total(asked: Asked) -> int:
    return int(asked.page("sys_user", limit=10).headers["X-Total-Count"])


@pytest.mark.parametrize("kind", ["short_pages", "lost_rows"])
def test_lost_rows_are_counted_and_do_not_come(asked: Asked, kind: str) -> None:
    whole = _keys(asked)
    asked.fail({"kind": kind})
    assert len(_keys(asked)) < len(whole)
    assert set(_keys(asked)) < set(whole)
    assert _total(asked) == 100


def test_rows_can_come_twice_and_are_counted_once(asked: Asked) -> None:
    asked.fail({"kind": "duplicate_rows"})
    found = _keys(asked)
    assert (len(found), len(set(found)), _total(asked)) == (101, 100, 100)


def test_the_order_can_change_from_call_to_call_although_one_was_asked_for(asked: Asked) -> None:
    asked.fail({"kind": "changed_order"})
    first, second = _keys(asked), _keys(asked)
    assert first != second
    assert set(first) == set(second)
    pages = [key for offset in range(0, 100, 10) for key in _keys(asked, limit=10, offset=offset)]
    assert len(set(pages)) < 100


def test_the_total_can_be_wrong(asked: Asked) -> None:
    asked.fail({"kind": "wrong_total"})
    assert (_total(asked), len(_keys(asked))) == (50, 100)


def test_a_cancelled_answer_has_rows_and_an_error(asked: Asked) -> None:
    asked.fail({"kind": "truncated_result"})
    answer = asked.page("sys_user", limit=10)
    document = answer.json()
    assert (answer.status_code, len(document["result"]), document["status"]) == (200, 5, "failure")
    assert document["error"]["message"] == "Transaction cancelled: maximum execution time exceeded"
    asked.change("simulator:broken_truncation", True)
    with pytest.raises(json.JSONDecodeError):
        asked.page("sys_user", limit=10).json()


def test_an_endless_table_begins_anew_at_every_page(asked: Asked) -> None:
    whole = _keys(asked, limit=10)
    asked.fail({"kind": "endless_page"})
    for offset in (0, 10, 5000):
        answer = asked.page("sys_user", ORDERED, limit=10, offset=offset, fields="sys_id")
        assert [row["sys_id"] for row in answer.json()["result"]] == whole
        assert int(answer.headers["X-Total-Count"]) > offset + 10
        assert 'rel="next"' in answer.headers["Link"]
    assert _keys(asked, f"sys_id>{whole[-1]}^{ORDERED}", limit=10) == whole


def test_links_can_lead_to_another_host(asked: Asked) -> None:
    asked.fail({"kind": "foreign_next"})
    assert "https://rows.example.net/api/now/table/sys_user?" in asked.page("sys_user", limit=10).headers["Link"]


@pytest.mark.parametrize(
    ("phase", "failing"), [("first", [0]), ("middle", [10, 20]), ("last", [30]), ("any", [0, 10, 20, 30])]
)
def test_a_fault_can_wait_for_its_page_and_looking_ahead_is_not_counted(phase: str, failing: list[int]) -> None:
    asked = Asked(Instance(users=35))
    asked.change("sys_rate_limit_rules:all", {"name": "Table API", "active": "true"})
    asked.change("simulator:requests_per_hour", 4)
    asked.fail({"kind": "expired_token", "phase": phase})
    statuses = {}
    for offset in (0, 10, 20, 30):
        statuses[offset] = asked.page("sys_user", ORDERED, limit=10, offset=offset).status_code
        asked.log_in()
    assert [offset for offset, status in statuses.items() if status != 200] == failing
    assert {status for status in statuses.values() if status != 200} == {401}
    assert asked.requests["GET sys_user"] == 4


def test_a_right_body_can_come_under_a_wrong_type(asked: Asked) -> None:
    asked.fail({"kind": "wrong_content_type"})
    answer = asked.page("sys_user", limit=1)
    assert (answer.status_code, "json" in answer.headers["content-type"]) == (200, False)
    assert answer.json()["result"]


# --- size

ROLES = 5_000_000
PRIVILEGED = "role.nameINadmin,security_admin,user_admin,oauth_admin,impersonator,web_service_admin^state=active"


@contextmanager
def _served(log: Path, *options: str) -> Iterator[tuple[psutil.Process, httpx.Client]]:
    port = free_port()
    command = [str(BIN / "plumbline-simulator"), "serve", "--product=servicenow", f"--port={port}", *options]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            until(lambda: _answers(client), within_seconds=30, what="the simulator listens")
            token = client.post(TOKEN_PATH, data=FORM).raise_for_status().json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            yield psutil.Process(process.pid), client
    finally:
        process.terminate()
        process.wait(20)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/__simulator/requests").is_success
    except httpx.TransportError:
        return False


def _read(client: httpx.Client, table: str, query: str, pages: int | None = None) -> tuple[int, int]:
    """The rows that a keyset reads, and the total that the first page told."""
    count, told, last = 0, -1, ""
    while pages is None or count < 1000 * pages:
        text = f"sys_id>{last}^{query}^{ORDERED}" if last else f"{query}^{ORDERED}"
        parameters = {"sysparm_query": text, "sysparm_fields": "sys_id,user,role.name", "sysparm_limit": "1000"}
        answer = client.get(f"/api/now/table/{table}", params=parameters)
        rows = answer.raise_for_status().json()["result"]
        if not rows:
            break
        told = int(answer.headers["X-Total-Count"]) if told < 0 else told
        count, last = count + len(rows), rows[-1]["sys_id"]
    return count, told


def test_millions_of_role_rows_cost_no_more_memory_than_thousands(tmp_path: Path) -> None:
    resident: dict[int, int] = {}
    for users, roles in ((1_000, 3_000), (100_000, ROLES)):
        with _served(tmp_path / "log", f"--users={users}", f"--roles={roles}") as (process, client):
            assert _read(client, "sys_user_has_role", "state=active", pages=3) == (3000, roles)
            privileged = users // 400 + (users % 400 > 13) + 9
            assert _read(client, "sys_user_has_role", PRIVILEGED) == (privileged, privileged)
            assert _read(client, "sys_user", "active=true") == (users, users)
            resident[roles] = process.memory_info().rss
    assert resident[ROLES] < 1.3 * resident[3_000]


def test_a_page_reads_its_own_rows_alone() -> None:
    """Rows made, not seconds: deep in five million rows, a page looks at as many role rows as it shows."""
    instance = Instance(users=100_000, roles=ROLES)
    asked = Asked(instance)
    asked.rows("sys_user_has_role", f"{PRIVILEGED}^{ORDERED}", fields="sys_id,user,role.name", limit=100)
    looked_at: list[int] = []
    held = instance.people.held
    instance.people.held = lambda row: looked_at.append(row) or held(row)  # type: ignore[method-assign,func-returns-value]
    deep = f"sys_id>{4_000_000:032x}^{ORDERED}"
    for query in (deep, f"{PRIVILEGED}^{ORDERED}", f"sys_id>{100:032x}^{PRIVILEGED}^{ORDERED}"):
        looked_at.clear()
        rows = asked.rows("sys_user_has_role", query, fields="sys_id,user", limit=100)
        assert len(rows) == 100
        assert len(looked_at) == 100
