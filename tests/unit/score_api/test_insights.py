"""Which instances count, from one choice to the next."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_contracts.events import Insights
from plumbline_score_api.audit.schemas import Author
from plumbline_score_api.instances.insights import chosen, registered
from plumbline_score_api.instances.repository import Document, choices_of

STEPS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from([None, *Insights]), st.booleans()), min_size=1, max_size=12
)

ANN = Author("ann", "key:ann")


def _after(*stated: tuple[str, Insights | None]) -> list[Document]:
    entries: list[Document] = []
    for instance, insights in stated:
        entries = registered(entries, instance, insights)
    return entries


@given(STEPS)
def test_there_is_always_exactly_one_main_and_what_a_person_chose_stands(
    steps: list[tuple[str, Insights | None, bool]],
) -> None:
    entries: list[Document] = []
    persons: dict[str, Insights] = {}
    for instance, insights, by_person in steps:
        is_last_main = choices_of(entries).get(instance) is Insights.MAIN and insights is not Insights.MAIN
        if by_person and insights is not None and entries and not is_last_main:
            entries = chosen(entries, instance, insights, ANN)
            if insights is Insights.MAIN:
                persons = {name: Insights.ON if i is Insights.MAIN else i for name, i in persons.items()}
            persons[instance] = insights
        else:
            entries = registered(entries, instance, insights)
        assert list(choices_of(entries).values()).count(Insights.MAIN) == 1
        assert persons.items() <= choices_of(entries).items()
        assert registered(entries, instance, _stated(entries, instance)) == entries


def _stated(entries: list[Document], instance: str) -> Insights | None:
    stated = next(entry["stated"] for entry in entries if entry["instance"] == instance)
    return Insights(stated) if stated else None


def test_the_first_instance_is_main_and_the_others_are_off() -> None:
    assert choices_of(_after(("a", None), ("b", None))) == {"a": Insights.MAIN, "b": Insights.OFF}


@pytest.mark.parametrize("order", list(itertools.permutations("abcd")))
def test_the_file_says_the_same_in_any_order(order: tuple[str, ...]) -> None:
    file = {"a": None, "b": Insights.MAIN, "c": Insights.ON, "d": Insights.OFF}
    found = choices_of(_after(*((name, file[name]) for name in order)))
    assert found == {"a": Insights.OFF, "b": Insights.MAIN, "c": Insights.ON, "d": Insights.OFF}


def test_an_instance_that_the_file_turns_off_is_main_only_while_there_is_no_other() -> None:
    alone = _after(("a", Insights.OFF))
    assert choices_of(alone) == {"a": Insights.MAIN}
    assert choices_of(registered(alone, "b", None)) == {"a": Insights.OFF, "b": Insights.MAIN}


def test_the_file_moves_main() -> None:
    entries = _after(("a", Insights.MAIN), ("b", None), ("a", None), ("b", Insights.MAIN))
    assert choices_of(entries) == {"a": Insights.OFF, "b": Insights.MAIN}


def test_a_person_outlives_the_file() -> None:
    entries = chosen(_after(("a", None), ("b", Insights.ON)), "b", Insights.MAIN, ANN)
    assert choices_of(registered(entries, "a", Insights.MAIN)) == {"a": Insights.ON, "b": Insights.MAIN}
    assert choices_of(registered(entries, "b", Insights.OFF)) == choices_of(entries)
