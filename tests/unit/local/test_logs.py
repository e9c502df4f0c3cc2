"""Log files stay bounded and are read from their end."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from plumbline_local.logs import bound, follow, last_lines

from tests.polling import until


def test_a_log_past_its_limit_is_put_aside_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    with log.open("ab") as writer:
        writer.write(b"old\n" * 100)
        writer.flush()
        bound(log, limit_bytes=100)
        writer.write(b"new\n")
        writer.flush()
        assert log.read_text() == "new\n"
        assert (tmp_path / "service.log.1").read_text() == "old\n" * 100
        writer.write(b"newer\n" * 100)
        writer.flush()
        bound(log, limit_bytes=100)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 1000
    assert (tmp_path / "service.log.1").read_text().startswith("new\nnewer\n")


def test_a_log_within_its_limit_and_a_missing_one_are_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_text("short\n")
    bound(log, limit_bytes=100)
    bound(tmp_path / "missing.log", limit_bytes=100)
    assert [file.name for file in tmp_path.iterdir()] == ["service.log"]
    assert log.read_text() == "short\n"


def test_the_last_lines_are_those_at_the_end(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_bytes(b"one\ntwo\n\xff three\nfour")
    assert last_lines(log, 2) == ["\ufffd three", "four"]
    assert last_lines(tmp_path / "missing.log", 2) == []


def test_following_goes_on_after_a_log_was_cut(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_text("written before, and long enough\n")
    added = follow([log])
    with ThreadPoolExecutor(1) as pool, log.open("ab", buffering=0) as writer:
        first = pool.submit(next, added)
        until(lambda: first.running(), within_seconds=5, what="the log is followed")
        until(lambda: writer.write(b"more\n") and first.done(), within_seconds=5, what="what is added is shown")
        assert set(first.result().split()) == {"more"}
        bound(log, limit_bytes=1)
        writer.write(b"after the cut\n")
        assert next(added) == "after the cut\n"
