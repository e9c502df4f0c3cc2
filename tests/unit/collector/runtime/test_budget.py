"""The share of the product's API limit."""

import pytest
from plumbline_collector.budget import Budgets, CallBudget
from plumbline_collector.errors import BudgetExhaustedError
from plumbline_contracts.events import ApiBudget

from tests.unit.collector.runtime.samples import connection


def test_calls_are_counted_until_the_share_is_used_up() -> None:
    budget = CallBudget(0.1)
    budget.take()
    budget.observe(used_in_total=500, daily_limit=30)
    budget.take()
    budget.take()
    with pytest.raises(BudgetExhaustedError, match=r"10% of 30.*raise api_share"):
        budget.take()
    state = budget.state()
    assert (state.used_by_us, state.used_in_total, state.daily_limit) == (3, 500, 30)


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
