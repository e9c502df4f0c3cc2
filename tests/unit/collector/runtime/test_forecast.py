"""The calls that `collector plan` foretells."""

from typing import Any

import pytest
from plumbline_collector.forecast import forecast

from tests.unit.collector.runtime.samples import connection


def test_calls_a_day_follow_the_schedule() -> None:
    slow = forecast(connection(schedule={"full": "1d", "changes": "1d"}), 60)
    assert slow.calls_per_day == slow.calls_per_full_run + slow.calls_per_look
    hourly = forecast(connection(schedule={"full": "1h", "changes": "1d"}), 60)
    assert hourly.calls_per_day - slow.calls_per_day == 23 * slow.calls_per_full_run


def test_the_limit_that_is_needed_follows_the_share() -> None:
    found = forecast(connection(api_share=0.25), 60)
    assert found.daily_limit_needed == found.calls_per_day * 4


@pytest.mark.parametrize("changes", [{}, {"product": "servicenow", "url": "https://x.service-now.com"}])
def test_more_users_are_more_calls_and_never_fewer(changes: dict[str, Any]) -> None:
    calls = [forecast(connection(**changes), users).calls_per_full_run for users in (0, 60, 2001, 100_000)]
    assert calls == sorted(calls)
    assert calls[-1] > calls[0] + 50


def test_a_login_without_a_token_is_no_call() -> None:
    auth = {"method": "basic", "username": "u", "password": {"env": "P"}}
    basic = connection(product="servicenow", url="https://x.service-now.com", auth=auth)
    oauth = connection(product="servicenow", url="https://x.service-now.com")
    assert forecast(oauth, 60).calls_per_full_run == forecast(basic, 60).calls_per_full_run + 1
