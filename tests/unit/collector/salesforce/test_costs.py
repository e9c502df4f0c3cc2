"""The calls of a collection are known beforehand and stay within their bound."""

import pytest
from plumbline_collector.connectors.salesforce.costs import (
    MOST_PROFILES,
    PRIVILEGED_PROFILES,
    PRIVILEGED_USERS,
    batches,
    calls_by_dataset,
    pages,
    typical_rows,
)

SMALL_PAGED = ("TwoFactorMethodsInfo", "OauthToken")


def test_an_empty_result_is_a_page_too() -> None:
    assert [pages(rows) for rows in (0, 1, 2000, 2001)] == [1, 1, 1, 2]
    assert [batches(rows, 500) for rows in (0, 500, 1999, 2000, 2001, 4000)] == [1, 1, 4, 5, 5, 9]
    assert batches(2000, 500, held_back=1) == 5


def test_an_org_with_a_page_of_everything_needs_few_calls() -> None:
    assert sum(calls_by_dataset({}).values()) <= 70


@pytest.mark.parametrize("users", [0, 60, 1000, 5000, 100_000])
def test_calls_stay_within_a_call_per_2000_rows_and_80(users: int) -> None:
    rows = typical_rows(users) | {PRIVILEGED_PROFILES: 100, PRIVILEGED_USERS: 5000}
    most = sum(count for name, count in rows.items() if name not in SMALL_PAGED and "." not in name) / 2000 + 80
    most += sum(batches(rows[name], 500, held_back=1) for name in SMALL_PAGED)
    assert sum(calls_by_dataset(rows).values()) <= most


def test_what_is_read_one_by_one_is_bounded() -> None:
    many, few = (calls_by_dataset({PRIVILEGED_PROFILES: count})["profiles"] for count in (10_000, 1))
    assert many - few == MOST_PROFILES - 1
    assert calls_by_dataset({PRIVILEGED_USERS: 100_000})["identity_verifications"] == 2
