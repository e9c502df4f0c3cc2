"""Which instances count, from one choice to the next."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_contracts.events import Insights
from plumbline_score_api.audit.schemas import Author
from plumbline_score_api.instances.insights import chosen, left, registered
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


# --- an instance is disconnected


@given(STEPS, st.lists(st.sampled_from("abcd"), max_size=4))
def test_there_is_one_main_while_an_instance_is_there_whoever_leaves_and_comes_back(
    steps: list[tuple[str, Insights | None, bool]], leaving: list[str]
) -> None:
    entries: list[Document] = []
    for instance, insights, by_person in steps:
        is_last_main = choices_of(entries).get(instance) is Insights.MAIN and insights is not Insights.MAIN
        if by_person and insights is not None and entries and not is_last_main:
            entries = chosen(entries, instance, insights, ANN)
        else:
            entries = registered(entries, instance, insights)
    for instance in leaving:
        entries = left(entries, instance, ANN, "Gone.")
        assert choices_of(entries).get(instance) in (Insights.OFF, None)
        _has_one_main(entries)
        for again in _there(entries):  # the file speaks again, and moves nothing
            assert choices_of(registered(entries, again, _stated(entries, again))) == choices_of(entries)
    for instance in leaving:
        entries = registered(entries, instance, None)
        assert instance in _there(entries)
        _has_one_main(entries)


def _there(entries: list[Document]) -> list[str]:
    return [entry["instance"] for entry in entries if not entry.get("is_gone")]


def _has_one_main(entries: list[Document]) -> None:
    names = [entry["instance"] for entry in entries]
    assert len(names) == len(set(names))
    choices, there = choices_of(entries), _there(entries)
    assert [choices[name] for name in there].count(Insights.MAIN) == (1 if there else 0)


def test_main_passes_to_the_one_that_the_file_wants_else_to_one_that_counts() -> None:
    entries = chosen(_after(("a", Insights.OFF), ("b", Insights.OFF), ("c", Insights.ON)), "a", Insights.MAIN, ANN)
    found = left(entries, "a", ANN, "Gone.")
    assert choices_of(found) == {"a": Insights.OFF, "b": Insights.OFF, "c": Insights.MAIN}
    heir = next(entry for entry in found if entry["instance"] == "c")
    assert (heir["by"], heir["note"]) == ("ann", "a was disconnected.")
    wanted = left(_after(("a", Insights.MAIN), ("b", Insights.ON), ("c", Insights.MAIN)), "a", ANN, "Gone.")
    assert choices_of(wanted)["c"] is Insights.MAIN


def test_who_leaves_says_why_and_comes_back_as_new() -> None:
    entries = left(chosen(_after(("a", None), ("b", None)), "b", Insights.ON, ANN), "b", ANN, "Gone.")
    assert [(e["insights"], e["by"], e["note"]) for e in entries if e["instance"] == "b"] == [("off", "ann", "Gone.")]
    assert choices_of(registered(entries, "b", None)) == {"a": Insights.MAIN, "b": Insights.OFF}
    assert left(entries, "x", ANN, "Gone.") == entries
