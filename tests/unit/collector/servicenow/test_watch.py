"""The change watch: two calls a look, and no change that is none."""

from plumbline_collector.connectors.servicenow.connector import ServiceNowConnector
from plumbline_collector.connectors.servicenow.watch import TURNS_UNTIL_TRIED_AGAIN

from tests.unit.collector.servicenow.fakes import Cells, FakeInstance, denied, property_row, small_instance, sys_id


def _instance() -> FakeInstance:
    instance = small_instance()
    instance.tables["sysevent_script_action"] = [
        {"sys_id": sys_id(1), "name": "a", "sys_updated_on": "2026-01-01 00:00:00"}
    ]
    instance.tables["sys_audit"] = [_change("2026-01-01 00:00:00")]
    for row in instance.tables["sys_user_has_role"]:
        row["sys_updated_on"] = "2026-01-01 00:00:00"
    return instance


def _change(at: str) -> Cells:
    return {"sys_id": sys_id(hash(at) % 1000), "tablename": "sys_user_has_role", "sys_created_on": at}


async def _look(connector: ServiceNowConnector) -> str:
    return (await connector.latest_change()).marker


async def test_looks_agree_with_each_other_and_with_a_new_connector() -> None:
    instance = _instance()
    connector = ServiceNowConnector(instance)
    first = await _look(connector)
    assert instance.usage.calls == 3
    assert [await _look(connector) for _ in range(5)] == [first] * 5
    assert instance.usage.calls == 3 + 5 * 2
    assert await _look(ServiceNowConnector(instance)) == first


async def test_every_watched_table_is_seen_within_two_looks() -> None:
    instance = _instance()

    def change_property() -> None:
        instance.tables["sys_properties"].append(property_row(9, "glide.soap.strict_security", "false"))

    def change_action() -> None:
        instance.tables["sysevent_script_action"][0]["sys_updated_on"] = "2026-02-01 00:00:00"

    def change_record() -> None:
        instance.tables["sys_audit"].append(_change("2026-03-01 00:00:00"))

    def delete_action() -> None:
        instance.tables["sysevent_script_action"].clear()

    for change in (change_property, change_action, change_record, delete_action):
        connector = ServiceNowConnector(instance)
        before = await _look(connector)
        change()
        await _look(connector)
        after = await _look(connector)
        assert after != before
        assert await _look(ServiceNowConnector(instance)) == after


async def test_properties_that_no_snapshot_holds_change_nothing() -> None:
    instance = _instance()
    connector = ServiceNowConnector(instance)
    before = await _look(connector)
    instance.tables["sys_properties"][1]["name"] = "glide.war"
    instance.tables["sys_properties"].append(
        property_row(9, "glide.db.busy", "1", sys_updated_on="2026-12-01 00:00:00")
    )
    instance.tables["sys_properties"].pop(0)
    assert await _look(connector) == before


async def test_without_the_record_of_changes_privileged_roles_are_watched() -> None:
    instance = _instance()
    instance.refusals["sys_audit"] = denied()
    connector = ServiceNowConnector(instance)
    before = await _look(connector)
    assert "sys_user_has_role:" in before
    assert [await _look(connector) for _ in range(4)] == [before] * 4
    for row in instance.tables["sys_user_has_role"]:
        row["sys_updated_on"] = "2026-05-01 00:00:00"
    after = [await _look(connector), await _look(connector)][-1]
    assert after != before
    assert after == await _look(ServiceNowConnector(instance))


async def test_a_right_that_is_given_later_is_noticed() -> None:
    instance = _instance()
    instance.refusals["sys_audit"] = denied()
    connector = ServiceNowConnector(instance)
    await _look(connector)
    instance.refusals.clear()
    for _ in range(2 * TURNS_UNTIL_TRIED_AGAIN):
        await _look(connector)
    assert await _look(connector) == await _look(ServiceNowConnector(instance))


async def test_a_refused_table_of_the_watch_is_a_position_too() -> None:
    instance = _instance()
    instance.refusals["sysevent_script_action"] = denied()
    connector = ServiceNowConnector(instance)
    assert "sysevent_script_action:-" in await _look(connector)
