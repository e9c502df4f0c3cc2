"""Which of two evaluations stands, and which parts contradict themselves."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_contracts.envelope import BadRecordError
from plumbline_score_api.projection.evaluations import Evaluation, refuse_wrong_numbers

from tests.integration.score_api.events import Judged

STARTS, GENERATIONS, CATALOGUES = st.integers(0, 3), st.integers(0, 12), st.sampled_from("abc")
ANY = st.builds(lambda n, g, c: Judged(n, generation=g, catalogue=c), STARTS, GENERATIONS, CATALOGUES)


def _pointer(judged: Judged) -> dict[str, Any]:
    part = judged.parts()[0]
    return {
        "key": Evaluation.of(part).key,
        "snapshot_id": part.snapshot_id,
        "started_at": part.snapshot_started_at,
        "generation": part.catalogue_generation,
        "evaluation_id": part.evaluation_id,
    }


def _evaluation(judged: Judged) -> Evaluation:
    return Evaluation.of(judged.parts()[0])


@given(ANY, ANY)
def test_of_two_evaluations_at_most_one_replaces_the_other(one: Judged, other: Judged) -> None:
    forth, back = _evaluation(one).replaces(_pointer(other)), _evaluation(other).replaces(_pointer(one))
    assert not (forth and back)
    assert (forth or back) == (_evaluation(one).key != _evaluation(other).key or one.generation != other.generation)


def test_the_snapshot_start_comes_before_the_generation_and_that_before_the_id() -> None:
    old, new = Judged(1, generation=12, catalogue="b"), Judged(2, generation=2, catalogue="a")
    assert _evaluation(new).replaces(_pointer(old))
    newer_catalogue = Judged(2, generation=10, catalogue="b")
    assert _evaluation(newer_catalogue).replaces(_pointer(new))
    assert not _evaluation(new).replaces(_pointer(newer_catalogue))


def test_of_two_publications_of_a_snapshot_the_first_stands_for_every_catalogue() -> None:
    first = Judged(1, generation=1, digest="a" * 64)
    assert not _evaluation(Judged(1, generation=1, digest="b" * 64)).replaces(_pointer(first))
    assert not _evaluation(Judged(1, generation=2, catalogue="b", digest="b" * 64)).replaces(_pointer(first))
    assert _evaluation(Judged(1, generation=2, catalogue="b", digest="a" * 64)).replaces(_pointer(first))


def test_a_start_finer_than_the_database_keeps_replaces_nothing() -> None:
    part = Judged(1).parts()[0]
    stored = _pointer(Judged(1))
    finer = part.model_copy(update={"snapshot_started_at": part.snapshot_started_at + timedelta(microseconds=7)})
    assert not Evaluation.of(finer).replaces(stored)


@pytest.mark.parametrize(
    "wrong",
    [{"part": 3, "part_count": 2}, {"part": 0, "part_count": 2}, {"part": 2**40}, {"catalogue_generation": 10**30}],
)
def test_numbers_that_cannot_be_are_a_bad_record(wrong: dict[str, int]) -> None:
    with pytest.raises(BadRecordError):
        refuse_wrong_numbers(Judged(1).parts()[0].model_copy(update={"part_count": None} | wrong))
