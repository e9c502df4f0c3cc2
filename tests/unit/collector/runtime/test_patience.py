"""How much failing a collection endures."""

from plumbline_collector.connectors.patience import (
    BASE_SECONDS,
    FAILURES_IN_A_ROW,
    FREE_CALLS,
    LONGEST_SECONDS,
    SHORTEST_ATTEMPT_SECONDS,
    Patience,
)


def test_five_failures_in_a_row_are_enough() -> None:
    patience = Patience()
    for _ in range(FAILURES_IN_A_ROW - 1):
        patience.failed("HTTP 503")
    assert patience.given_up is None
    patience.answered()
    for _ in range(FAILURES_IN_A_ROW):
        assert patience.given_up is None
        patience.failed("HTTP 503")
    assert (
        patience.given_up
        == "5 requests in a row failed, the last with: HTTP 503; nothing more is asked until the next run"
    )


def test_time_that_was_lost_is_gone() -> None:
    patience = Patience()
    patience.lose(BASE_SECONDS - 1)
    patience.failed("timeout")
    assert patience.given_up is None
    patience.answered()
    patience.lose(1)
    patience.failed("timeout")
    assert "failures took 75 s" in (patience.given_up or "")


def test_an_attempt_never_outlasts_what_is_left_by_much() -> None:
    patience = Patience()
    assert patience.attempt_seconds(75) == 75
    patience.lose(40)
    assert patience.attempt_seconds(75) == 35
    patience.lose(35)
    assert patience.attempt_seconds(75) == SHORTEST_ATTEMPT_SECONDS
    assert patience.attempt_seconds(10) == 10


def test_a_large_collection_may_lose_more() -> None:
    patience = Patience()
    for _ in range(FREE_CALLS + 100):
        patience.answered()
    assert patience.left_seconds == BASE_SECONDS + 25
    for _ in range(100_000):
        patience.answered()
    assert patience.left_seconds == LONGEST_SECONDS


def test_the_first_reason_to_give_up_stands() -> None:
    patience = Patience()
    patience.give_up("the limit is used up")
    patience.give_up("another")
    assert (patience.given_up or "").startswith("the limit is used up")
