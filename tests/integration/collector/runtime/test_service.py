"""The running collector: requests, rhythms, connections that change, failures that stay where they are."""

import json
from datetime import timedelta

import httpx
from plumbline_collector.connectors.salesforce import plan as salesforce_plan
from plumbline_collector.connectors.servicenow import plan as servicenow_plan
from plumbline_contracts.events import DatasetState, Health, RequestReason

from tests.integration.collector.runtime.service import SECRET, Collector, Fleet, Org, entry, request, simulated, write
from tests.polling import until

TOPICS = ("snapshot-chunks", "config-snapshots", "instance-status", "collection-requests", "collection-requests.dlq")


def test_a_new_instance_is_read_and_its_status_says_so(fleet: Fleet, salesforce: Org, servicenow: Org) -> None:
    write(fleet.connections, entry("sf", salesforce.url), entry("snow", servicenow.url, "servicenow"))
    fleet.start()
    found = fleet.wait_for_snapshots(lambda s: len(s) == 2, what="both instances are read")
    assert {(s.instance, s.reason) for s in found} == {("sf", RequestReason.SCHEDULE), ("snow", RequestReason.SCHEDULE)}
    assert all(sum(summary.row_count for summary in s.datasets) > 100 for s in found)
    status = fleet.wait_for_health("sf", Health.HEALTHY)
    assert status.last_run
    assert status.last_success == status.last_run
    assert status.next_full_at == status.last_run.started_at + timedelta(hours=1)
    assert status.change_marker
    assert status.budget
    assert status.budget.used_by_us > 8
    assert fleet.spools() == []


def test_a_request_of_a_person_is_answered_once_and_committed(fleet: Fleet, salesforce: Org) -> None:
    write(fleet.connections, entry("sf", salesforce.url))
    collector = fleet.start()
    (first,) = fleet.wait_for_snapshots(lambda s: len(s) == 1, what="the first snapshot")
    asked = request("sf")
    fleet.ask(asked)
    assert fleet.wait_for_answer(asked).started_at > first.started_at
    until(lambda: fleet.committed() == 2, within_seconds=10, what="both requests are committed")
    fleet.ask(asked)
    until(lambda: fleet.committed() == 3, within_seconds=10, what="the repeated request is acknowledged")
    assert len(fleet.snapshots()) == 2, "a request that was answered is not answered again"
    assert collector.stop() == 0


def test_many_requests_of_one_instance_are_few_collections(fleet: Fleet, salesforce: Org) -> None:
    write(fleet.connections, entry("sf", salesforce.url))
    fleet.start()
    fleet.wait_for_snapshots(lambda s: len(s) == 1, what="the first snapshot")
    fleet.ask(*(request("sf") for _ in range(40)))
    until(lambda: fleet.committed() == 41, within_seconds=20, what="all requests are committed")
    assert 2 <= len(fleet.snapshots()) <= 6


def test_a_change_in_the_org_asks_for_a_collection(fleet: Fleet, salesforce: Org, servicenow: Org) -> None:
    often = {"full": "1h", "changes": "1s"}
    write(
        fleet.connections,
        entry("sf", salesforce.url, schedule=often),
        entry("snow", servicenow.url, "servicenow", schedule=often),
    )
    fleet.start()
    fleet.wait_for_snapshots(lambda s: len(s) == 2, what="the first snapshots")
    before = salesforce.requests()
    until(
        lambda: salesforce.requests()["GET query"] > before["GET query"] + 3,
        within_seconds=20,
        what="some looks for changes",
    )
    assert salesforce.requests()["POST token"] <= before["POST token"] + 1, "a look needs no login of its own"
    assert len(fleet.snapshots()) == 2, "without a change nothing is read"
    salesforce.change("passwordPolicies.minimumPasswordLength", 13)
    servicenow.change("glide.ui.session_timeout", "17")
    fleet.wait_for_snapshots(
        lambda found: {s.instance for s in found if s.reason is RequestReason.CHANGE} == {"sf", "snow"},
        what="collections because of changes",
    )
    entries = {s.instance: s.audit_entries for s in fleet.snapshots() if s.reason is RequestReason.CHANGE}
    told = {
        instance: [(entry.actor, entry.old_value, entry.new_value) for entry in found if subject in str(entry.subject)]
        for instance, subject, found in (
            ("sf", "minimumPasswordLength", entries["sf"]),
            ("snow", "glide.ui.session_timeout", entries["snow"]),
        )
    }
    (_, _, to_thirteen), *_ = told["sf"]
    (_, _, to_seventeen), *_ = told["snow"]
    assert (to_thirteen, to_seventeen) == ("13", "17")


def test_looks_for_changes_cost_what_was_foretold(fleet: Fleet, salesforce: Org, servicenow: Org) -> None:
    often = {"full": "1h", "changes": "1s"}
    write(
        fleet.connections,
        entry("sf", salesforce.url, schedule=often),
        entry("snow", servicenow.url, "servicenow", schedule=often),
    )
    collector = fleet.start()
    fleet.wait_for_snapshots(lambda s: len(s) == 2, what="the first snapshots")

    for product, org, foretold in (
        ("salesforce", salesforce, salesforce_plan.CALLS_PER_LOOK),
        ("servicenow", servicenow, servicenow_plan.CALLS_PER_LOOK),
    ):
        first = _wait_for_looks(collector, product, 2)
        before = sum(org.requests().values())
        last = _wait_for_looks(collector, product, first + 5)
        made = sum(org.requests().values()) - before
        assert (last - first - 1) * foretold <= made <= (last - first + 1) * foretold


def _wait_for_looks(collector: Collector, product: str, at_least: float) -> float:
    """How many looks found no change, once there are so many."""
    sample = f'plumbline_collector_change_looks_total{{product="{product}",result="unchanged"}} '

    def look() -> float | None:
        lines = httpx.get(f"{collector.health_url}/metrics", trust_env=False).text.splitlines()
        found = [float(line.removeprefix(sample)) for line in lines if line.startswith(sample)]
        return found[0] if found and found[0] >= at_least else None

    return until(look, within_seconds=30, what=f"{at_least:.0f} looks at {product}")


def test_the_connections_file_is_followed(fleet: Fleet, salesforce: Org, servicenow: Org) -> None:
    write(fleet.connections, entry("sf", salesforce.url))
    collector = fleet.start()
    fleet.wait_for_snapshots(lambda s: len(s) == 1, what="the first snapshot")
    write(fleet.connections, entry("sf", salesforce.url), entry("snow", servicenow.url, "servicenow"))
    fleet.wait_for_health("snow", Health.DEGRADED)
    write(fleet.connections, entry("snow", servicenow.url, "servicenow"))
    assert fleet.wait_for_health("sf", Health.PAUSED).last_success
    fleet.ask(request("sf"))
    until(lambda: collector.lines("request without a connection"), within_seconds=20, what="the request is said")
    fleet.connections.write_text("")
    until(lambda: collector.lines("connections paused"), within_seconds=20, what="the empty file is said")
    fleet.wait_for_health("snow", Health.PAUSED)
    write(fleet.connections, entry("sf", salesforce.url), entry("sf", salesforce.url))
    said = "connections file refused, the former stays in force"
    refused = until(lambda: collector.lines(said), within_seconds=20, what="the duplicate is said")
    assert "already has an instance sf" in refused[0]["problems"][0]
    write(fleet.connections, entry("sf", salesforce.url))
    fleet.ask(asked := request("sf"))
    fleet.wait_for_answer(asked)
    fleet.wait_for_health("sf", Health.HEALTHY)
    assert collector.is_running


def test_a_broken_instance_says_why_and_its_neighbour_does_not_notice(fleet: Fleet, salesforce: Org) -> None:
    wrong = {"method": "client_credentials", "client_id": "nobody", "client_secret": {"env": "PATH"}}
    write(
        fleet.connections,
        entry("wrong-login", salesforce.url, auth=wrong),
        entry("nobody-there", "http://127.0.0.1:9"),
        entry("not-the-product", salesforce.url, "servicenow"),
        entry("sf", salesforce.url),
    )
    collector = fleet.start()
    fleet.wait_for_snapshots(lambda found: [s.instance for s in found] == ["sf"], what="the neighbour is read")
    causes = {
        "wrong-login": "token request was refused",
        "nobody-there": "token request",
        "not-the-product": "no ServiceNow",
    }
    for instance, cause in causes.items():
        status = fleet.wait_for_health(instance, Health.FAILED, within_seconds=60)
        assert cause in status.message
        assert status.last_run
        assert not status.last_run.succeeded
        assert status.next_full_at
        assert status.next_full_at > status.last_run.completed_at
    until(lambda: fleet.committed() >= 4, within_seconds=20, what="requests of broken instances are acknowledged too")
    assert {s.instance for s in fleet.snapshots()} == {"sf"}
    assert collector.is_running


def test_a_token_endpoint_that_asks_to_wait_for_an_hour_stops_nobody_else(
    fleet: Fleet, salesforce: Org, servicenow: Org
) -> None:
    servicenow.fault({"kind": "429", "match": "oauth_token", "retry_after": 3600})
    write(fleet.connections, entry("snow", servicenow.url, "servicenow"), entry("sf", salesforce.url))
    collector = fleet.start()
    status = fleet.wait_for_health("snow", Health.FAILED)
    assert "the token request failed" in status.message
    assert "3600" in status.message
    fleet.wait_for_health("sf", Health.HEALTHY)
    assert collector.is_running


def test_an_org_that_answers_nothing_usable_publishes_nothing_and_mends(fleet: Fleet, salesforce: Org) -> None:
    salesforce.fault({"kind": "broken_json", "match": "/services/data/", "times": -1})
    write(fleet.connections, entry("sf", salesforce.url))
    fleet.start()
    status = fleet.wait_for_health("sf", Health.FAILED, within_seconds=60)
    assert "nothing could be read" in status.message
    assert (fleet.snapshots(), fleet.records("snapshot-chunks"), fleet.spools()) == ([], [], [])
    salesforce.fault()
    fleet.ask(asked := request("sf"))
    fleet.wait_for_answer(asked)
    assert fleet.wait_for_health("sf", Health.HEALTHY).consecutive_failures == 0


def test_a_collection_that_takes_too_long_is_given_up(fleet: Fleet, salesforce: Org) -> None:
    salesforce.fault({"kind": "slow", "seconds": 30, "match": "FROM+UserLogin", "times": -1})
    write(fleet.connections, entry("sf", salesforce.url))
    fleet.start(collection_timeout_seconds=2)
    assert "did not end within 2 s" in fleet.wait_for_health("sf", Health.FAILED).message
    assert fleet.spools() == []


def test_a_denied_dataset_degrades_the_instance(fleet: Fleet) -> None:
    with simulated(seed="restricted") as org:
        write(fleet.connections, entry("sf", org.url))
        fleet.start()
        status = fleet.wait_for_health("sf", Health.DEGRADED)
    denied = [summary.error for summary in status.datasets if summary.state is DatasetState.DENIED]
    denied += [f.error for s in status.datasets for f in s.missing_fields if f.state is DatasetState.DENIED]
    to_grant = [error for error in denied if error and error.permission]
    assert to_grant
    assert all(error.remedy for error in to_grant)


def test_a_poison_request_goes_to_the_dead_letters_and_the_next_is_answered(fleet: Fleet, salesforce: Org) -> None:
    write(fleet.connections, entry("sf", salesforce.url))
    fleet.start()
    fleet.wait_for_snapshots(lambda s: len(s) == 1, what="the first snapshot")
    poison = [b"", b"\xff\xfe", b"[]", json.dumps({"tenant": "../../etc"}).encode()]
    fleet.produce("collection-requests", [(b"demo/sf", value, []) for value in poison])
    fleet.ask(asked := request("sf"))
    fleet.wait_for_answer(asked)
    dead = fleet.records("collection-requests.dlq")
    assert [record.value for record in dead] == poison
    assert all(record.key == b"demo/sf" and dict(record.headers)["plumbline_message"] for record in dead)


def test_the_probes_and_metrics_answer(fleet: Fleet, salesforce: Org) -> None:
    write(fleet.connections, entry("sf", salesforce.url))
    collector = fleet.start()
    fleet.wait_for_health("sf", Health.HEALTHY)
    assert httpx.get(f"{collector.health_url}/healthz", trust_env=False).status_code == 200
    wanted = {
        'plumbline_collector_collections_total{product="salesforce",result="succeeded"} 1.0',
        "plumbline_collector_collections_running 0.0",
    }
    until(
        lambda: wanted <= set(httpx.get(f"{collector.health_url}/metrics", trust_env=False).text.splitlines()),
        within_seconds=10,
        what=f"the metrics say {wanted}",
    )


def test_no_secret_reaches_a_log_or_a_topic(fleet: Fleet, salesforce: Org) -> None:
    secret = fleet.folder / "secret"
    secret.write_text("unseen-hunter2")
    place = {"file": str(secret)}
    wrong = {"method": "username_password", "client_id": "x", "username": "ann", "password": place}
    write(
        fleet.connections,
        entry("sf", salesforce.url),
        entry("bad", salesforce.url, auth={**wrong, "client_secret": place}),
    )
    collector = fleet.start()
    fleet.wait_for_health("sf", Health.HEALTHY)
    fleet.wait_for_health("bad", Health.FAILED)
    records = [record for topic in TOPICS for record in fleet.records(topic)]
    seen = collector.log.read_bytes() + b"".join(record.value + repr(record.headers).encode() for record in records)
    assert b"collection failed" in seen
    assert SECRET.encode() not in seen
    assert b"unseen-hunter2" not in seen
