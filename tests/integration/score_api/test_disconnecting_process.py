"""Disconnecting with both roles as processes: the projector follows by itself, whatever the broker still holds."""

from collections.abc import Callable

import httpx
from plumbline_contracts.events import Outcome

from tests.integration.score_api.events import Judged, result
from tests.integration.score_api.stage import Stage
from tests.polling import until

OLD = Judged(1, [result("C-1", Outcome.FAIL, exposed=3), result("C-2")])


def _audited(client: httpx.Client) -> list[str]:
    found = client.get("/v1/audit", params={"action": "instance_disconnected"}).raise_for_status().json()["items"]
    return [each["instance"] for each in found]


def _settled(stage: Stage, count: int) -> Callable[[], bool]:
    return lambda: stage.count("instances", {"current.is_settled": True}) == count


def test_a_disconnected_instance_is_closed_by_the_projector_and_stays_away(stage: Stage) -> None:
    """The projector is killed first: it finds the disconnection, and all of its topics again, when it is back."""
    projector = stage.project()
    stage.define("C-1", "C-2")
    for count, judged in enumerate((OLD, Judged(2, [result("C-1")], instance="sales-us")), start=1):
        stage.judge(judged)  # one after the other: the first that is seen is the main one
        until(_settled(stage, count), within_seconds=60, what=f"{judged.instance} is seen")
    projector.process.kill()
    projector.process.wait()
    _, client = stage.serve()
    assert client.delete("/v1/instances/sales-eu").status_code == 204
    assert client.get("/v1/instances/sales-eu").status_code == 404
    stage.judge(OLD, Judged(3, [result("C-1"), result("C-2")]))
    stage.project()
    stage.wait_committed("control-results", within_seconds=60)
    until(lambda: not stage.count("instances", {"is_closing": True}), within_seconds=60, what="it is closed")
    assert client.get("/v1/instances/sales-eu").status_code == 404
    for name in ("findings", "exposed", "pictures", "parts"):
        assert stage.count(name, {"instance": "sales-eu"}) == 0
    assert _audited(client) == ["sales-eu"]
    history = client.get("/v1/history", params={"resolution": "change"}).raise_for_status().json()["items"]
    left = [point for point in history if point["insights"]]
    assert {each["instance"]: each["after"] for each in left[-1]["insights"]} == {
        "sales-eu": "off", "sales-us": "main",
    }  # fmt: skip
