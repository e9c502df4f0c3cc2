"""The share of the product's API limit."""

import time

import pytest
from plumbline_collector import budget as budget_module
from plumbline_collector.budget import Budgets, CallBudget
from plumbline_collector.errors import BudgetExhaustedError, ReadError
from plumbline_contracts.events import ApiBudget

from tests.unit.collector.runtime.samples import connection


def test_calls_are_counted_until_the_share_is_used_up() -> None:
    budget = CallBudget(0.1)
    budget.take()
    budget.observe(used_in_total=5, daily_limit=30)
    budget.take()
    budget.take()
    with pytest.raises(BudgetExhaustedError, match=r"10% of 30.*raise api_share"):
        budget.take()
    state = budget.state()
    assert (state.used_by_us, state.used_in_total, state.daily_limit) == (3, 5, 30)


def test_an_unknown_limit_refuses_nothing() -> None:
    budget = CallBudget(0.01)
    for _ in range(1000):
        budget.take()
    assert budget.state().used_by_us == 1000


def test_a_restart_remembers_today_and_forgets_yesterday() -> None:
    today = CallBudget(0.1)
    today.take()
    assert CallBudget(0.1, today.state()).state().used_by_us == 1
    yesterday = ApiBudget(used_by_us=77, daily_limit=100, share=0.1, day="2020-01-01")
    again = CallBudget(0.1, yesterday)
    again.take()
    assert again.state().used_by_us == 1


def test_a_changed_share_keeps_the_count_and_a_moved_instance_drops_it() -> None:
    budgets = Budgets()
    budgets.of(connection(), None).take()
    assert budgets.of(connection(), None) is budgets.of(connection(), None)
    raised = budgets.of(connection(api_share=0.5), None)
    assert (raised.state().used_by_us, raised.state().share) == (1, 0.5)
    budgets.forget("contoso/sales-eu")
    assert budgets.of(connection(api_share=0.5), None).state().used_by_us == 0


def test_the_last_tenth_of_the_products_limit_is_left_to_the_others() -> None:
    budget = CallBudget(1.0)
    budget.observe(used_in_total=900, daily_limit=1000)
    with pytest.raises(BudgetExhaustedError, match=r"900 of the 1000 calls.*left to the others"):
        budget.take()


def test_a_call_now_and_then_finds_out_whether_the_others_use_has_fallen(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = CallBudget(1.0)
    budget.observe(used_in_total=900, daily_limit=1000)
    later = time.monotonic() + budget_module.ASK_AGAIN_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    budget.take()
    budget.observe(used_in_total=100, daily_limit=1000)
    budget.take()


@pytest.mark.parametrize(("used", "expected"), [(740, 0.0), (750, budget_module.SLOW_SECONDS)])
def test_calls_slow_down_before_the_limit_is_near(used: int, expected: float) -> None:
    budget = CallBudget(1.0)
    assert budget.pause_seconds == 0
    budget.observe(used_in_total=used, daily_limit=1000)
    assert budget.pause_seconds == expected


def test_an_hourly_rule_ends_with_what_was_read_and_begins_anew_with_the_next_hour() -> None:
    budget, ends_at = CallBudget(1.0), time.time() + 1800
    for _ in range(9):
        budget.take()
        budget.observe_window(10, ends_at)
    with pytest.raises(ReadError, match=r"9 of the 10 calls.*in an hour.*raise the rule"):
        budget.take()
    assert budget.state().daily_limit == 240
    budget.observe_window(10, ends_at + 3600)
    budget.take()


def test_what_is_left_of_the_share_is_known() -> None:
    budget = CallBudget(0.1)
    assert budget.left is None
    budget.observe(used_in_total=5, daily_limit=100)
    budget.take()
    assert budget.left == 9
