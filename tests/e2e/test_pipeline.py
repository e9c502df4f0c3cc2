"""The whole stack: a setting moves and the score with it."""

import httpx
import pytest

from tests.e2e.stack import SALESFORCE, SERVICENOW, Stack, findings, recommendations, scan, score
from tests.polling import until

WATCH_SECONDS = 10
"""The change watch of the simulated orgs in the local stack."""


def _outcome(client: httpx.Client, instance: str, control: str) -> str:
    return str(client.get(f"/v1/recommendations/{instance}/{control}").raise_for_status().json()["outcome"])


def test_up_prints_a_score_per_product(stack: Stack) -> None:
    printed = stack.up()
    assert "salesforce" in printed.lower()
    assert "servicenow" in printed.lower()
    assert "%" in printed


def test_microsofts_51_controls_are_among_those_of_both_products(client: httpx.Client) -> None:
    for instance, prefix, count in ((SALESFORCE, "MDA_SF_", 29), (SERVICENOW, "MDA_SNOW_", 22)):
        items = recommendations(client, instance=instance)
        aliases = [alias for item in items for alias in item["aliases"] if alias.startswith(prefix)]
        assert len(aliases) == count


@pytest.mark.parametrize(
    ("instance", "control", "setting", "weak", "strong"),
    [
        (SALESFORCE, "MDA_SF_password_minimumPasswordLength", "passwordPolicies.minimumPasswordLength", "5", "12"),
        (SERVICENOW, "MDA_SNOW_soapStrictSecurity", "glide.soap.strict_security", "false", "true"),
    ],
)
def test_a_changed_setting_moves_the_score(
    stack: Stack, client: httpx.Client, instance: str, control: str, setting: str, weak: str, strong: str
) -> None:
    stack.run("simulate", "set", instance, setting, weak)
    scan(client, instance)
    until(lambda: _outcome(client, instance, control) == "FAIL", within_seconds=30, what=f"{control} fails")
    before, others = score(client)["current"], findings(client)
    stack.run("simulate", "set", instance, setting, strong)
    scan(client, instance)
    until(lambda: _outcome(client, instance, control) == "PASS", within_seconds=30, what=f"{control} passes")
    after = findings(client)
    moved = {place: found[1] - others[place][1] for place, found in after.items() if others[place] != found}
    points = client.get(f"/v1/recommendations/{instance}/{control}").json()["max_points"]
    assert moved[instance, _id(client, instance, control)] == points
    assert score(client)["current"] == pytest.approx(before + sum(moved.values()))


def _id(client: httpx.Client, instance: str, control: str) -> str:
    return str(client.get(f"/v1/recommendations/{instance}/{control}").raise_for_status().json()["control_id"])


def test_the_change_watch_sees_a_change_without_a_scan(stack: Stack, client: httpx.Client) -> None:
    control = "MDA_SF_password_obscureSecretAnswer"
    wanted = "FAIL" if _outcome(client, SALESFORCE, control) == "PASS" else "PASS"
    value = "true" if wanted == "PASS" else "false"
    stack.run("simulate", "set", SALESFORCE, "passwordPolicies.obscureSecretAnswer", value)
    until(
        lambda: _outcome(client, SALESFORCE, control) == wanted,
        within_seconds=2 * WATCH_SECONDS,
        what="the change watch notices within two periods",
    )
    changes = client.get(f"/v1/instances/{SALESFORCE}").json()["changes"]
    told = next(change for change in changes if change["subject"] == "obscureSecretAnswer")
    assert told["new_value"] == {"true": "on", "false": "off"}[value]
