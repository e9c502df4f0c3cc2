"""Several replicas: they share the instances, and the death of one loses no request."""

from plumbline_contracts.events import Health

from tests.integration.collector.runtime.service import Fleet, Org, entry, request, write
from tests.polling import until

INSTANCES = [f"org-{number}" for number in range(12)]


def answered(fleet: Fleet, wanted: set[str]) -> bool:
    """Whether every one of these instances has a snapshot for its newest request."""
    return wanted <= {s.request_id for s in fleet.snapshots()}


def partitions(fleet: Fleet, number: int) -> list[int]:
    """What a replica was given last."""
    lines = fleet.started[number].lines("partitions assigned")
    return list(lines[-1]["partitions"]) if lines else []


def share(fleet: Fleet) -> bool:
    """Whether the two replicas have all six partitions between them, each some."""
    first, second = partitions(fleet, 0), partitions(fleet, 1)
    return bool(first) and bool(second) and sorted(first + second) == list(range(6))


def test_two_share_the_instances_and_the_death_of_one_loses_no_request(fleet: Fleet, salesforce: Org) -> None:
    write(fleet.connections, *(entry(name, salesforce.url) for name in INSTANCES))
    fleet.start("collector-0")
    fleet.start("collector-1")
    until(lambda: share(fleet), within_seconds=40, what="both have partitions")
    until(lambda: len({s.instance for s in fleet.snapshots()}) == 12, within_seconds=60, what="all are read once")
    salesforce.fault({"kind": "slow", "seconds": 0.7, "match": "FROM+UserLogin", "times": -1})
    requests = [request(name) for name in INSTANCES]
    before = [len(collector.lines("collection started")) for collector in fleet.started]
    fleet.ask(*requests)
    until(
        lambda: all(
            len(collector.lines("collection started")) > count
            for collector, count in zip(fleet.started, before, strict=True)
        ),
        within_seconds=20,
        what="both work on the new requests",
    )
    fleet.started[1].kill()
    assert not answered(fleet, {r.request_id for r in requests}), "it died in the middle"
    until(
        lambda: answered(fleet, {r.request_id for r in requests}),
        within_seconds=60,
        what="the survivor answers the requests of the dead one",
    )
    until(lambda: fleet.committed() == len(fleet.records("collection-requests")), within_seconds=20, what="committed")
    survivors = [fleet.status(name) for name in INSTANCES]
    assert all(status and status.health is Health.HEALTHY and not status.is_collecting for status in survivors)


def test_a_request_in_flight_at_a_stop_is_answered_after_the_restart(fleet: Fleet, salesforce: Org) -> None:
    write(fleet.connections, entry("sf", salesforce.url))
    first = fleet.start()
    until(lambda: len(fleet.snapshots()) == 1, within_seconds=30, what="the first snapshot")
    salesforce.fault({"kind": "slow", "seconds": 30, "match": "FROM+UserLogin", "times": -1})
    fleet.ask(asked := request("sf"))
    until(lambda: len(first.lines("collection started")) == 2, within_seconds=20, what="the request is in work")
    assert first.stop() == 0
    assert fleet.spools() == []
    assert len(fleet.snapshots()) == 1, "an interrupted collection publishes nothing"
    salesforce.fault()
    fleet.start()
    until(lambda: answered(fleet, {asked.request_id}), within_seconds=20, what="the request is answered")


def test_a_killed_collector_is_back_at_once_and_leaves_no_spool(fleet: Fleet, salesforce: Org) -> None:
    write(fleet.connections, entry("sf", salesforce.url))
    first = fleet.start()
    until(lambda: len(fleet.snapshots()) == 1, within_seconds=30, what="the first snapshot")
    salesforce.fault({"kind": "slow", "seconds": 30, "match": "FROM+UserLogin", "times": -1})
    fleet.ask(asked := request("sf"))
    until(lambda: fleet.spools(), within_seconds=20, what="a spool lies on disk")
    first.kill()
    left = fleet.spools()
    assert left
    salesforce.fault()
    second = fleet.start()
    assert not any(spool.exists() for spool in left)
    until(lambda: answered(fleet, {asked.request_id}), within_seconds=8, what="an answer before the old session ends")
    assert second.lines("spools of an interrupted run deleted")


def test_two_replicas_under_one_name_are_told(fleet: Fleet, salesforce: Org) -> None:
    write(fleet.connections, entry("sf", salesforce.url))
    first = fleet.start("twin")
    second = fleet.start("twin", wait=False)
    said = "this replica is thrown out of its group again and again"
    found = until(lambda: first.lines(said) + second.lines(said), within_seconds=40, what="the shared name is said")
    assert "PLUMBLINE_COLLECTOR_NAME" in found[0]["problem"]
