"""What is known of every instance, and how the owner changes it."""

from datetime import UTC, datetime, timedelta

from plumbline_collector import statuses
from plumbline_collector.runs import sentence
from plumbline_collector.statuses import StatusBoard
from plumbline_contracts.events import DatasetState, DatasetSummary, Health
from plumbline_contracts.kafka import KafkaSettings

from tests.unit.collector.runtime.samples import NOW, connection, run, status
from tests.unit.collector.runtime.test_spool import completed


def test_an_older_status_does_not_replace_a_newer_one() -> None:
    board = StatusBoard(KafkaSettings())
    board.put(status(message="new"))
    board.put(status(message="old", updated_at=NOW - timedelta(seconds=1)))
    assert board.statuses["contoso/sales-eu"].message == "new"


def test_a_status_says_what_the_connections_file_says_and_keeps_the_rest() -> None:
    known = status(url="https://old", last_run=run(), change_marker="m")
    changed = statuses.fresh(connection(insights="off"), known, is_collecting=True)
    assert (changed.url, str(changed.insights), changed.is_collecting) == (
        "https://contoso.my.salesforce.com",
        "off",
        True,
    )
    assert (changed.last_run, changed.change_marker) == (known.last_run, "m")


def test_the_first_status_is_pending() -> None:
    assert statuses.fresh(connection(), None).health is Health.PENDING


def test_a_new_status_is_newer_even_if_another_clock_runs_ahead() -> None:
    board, ahead = StatusBoard(KafkaSettings()), datetime.now(UTC) + timedelta(minutes=3)
    board.put(status(updated_at=ahead))
    board.put(statuses.fresh(connection(), board.statuses["contoso/sales-eu"], message="mine"))
    assert board.statuses["contoso/sales-eu"].message == "mine"


def test_pausing_keeps_the_history_and_says_what_to_do() -> None:
    known = status(last_run=run(), is_collecting=True, next_full_at=NOW)
    paused = statuses.paused(known)
    assert (paused.health, paused.is_collecting, paused.next_full_at) == (Health.PAUSED, False, None)
    assert paused.last_run == known.last_run
    assert "add it" in paused.message


def test_the_sentence_names_what_was_not_read() -> None:
    summaries = [
        DatasetSummary(name="users", kind="rows", state=DatasetState.DENIED, source="User"),
        DatasetSummary(name="sites", kind="rows", state=DatasetState.OK, row_count=4, source="RemoteProxy"),
    ]
    text = sentence(completed().model_copy(update={"datasets": summaries}))
    assert text == "1 of 2 datasets read whole, 4 rows; users denied."
