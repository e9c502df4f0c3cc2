"""Cursors of the change log: they open for their tenant alone, and nothing else opens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_score_api.events.cursors import LONGEST, MOST_PARTITIONS, Seal
from plumbline_score_api.problems import BadRequestError

SEAL = Seal(bytes(range(64)))
OTHER = Seal(bytes(64))
positions = st.dictionaries(st.integers(0, MOST_PARTITIONS), st.integers(1, 2**48 - 1), max_size=40)


@given(positions)
def test_a_cursor_is_the_place_that_it_was_made_for(position: dict[int, int]) -> None:
    text = SEAL.close("contoso", position)
    assert SEAL.open("contoso", text) == position
    assert SEAL.close("contoso", dict(reversed(position.items()))) == text, "the same on every replica"


@given(positions)
def test_it_opens_for_no_other_tenant_and_no_other_log(position: dict[int, int]) -> None:
    text = SEAL.close("contoso", position)
    for seal, tenant in ((SEAL, "fabrikam"), (SEAL, ""), (OTHER, "contoso")):
        with pytest.raises(BadRequestError):
            seal.open(tenant, text)


@given(st.text(max_size=300))
def test_what_was_not_made_here_does_not_open(text: str) -> None:
    with pytest.raises(BadRequestError):
        SEAL.open("contoso", text)


@given(positions, st.data())
def test_what_was_changed_does_not_open(position: dict[int, int], data: st.DataObject) -> None:
    text = SEAL.close("contoso", position)
    place = data.draw(st.integers(0, len(text) - 2))  # the last character has bits that mean nothing
    letter = data.draw(st.sampled_from("Aa0-_.=é\n").filter(lambda letter: letter != text[place]))
    for changed in (text[:place] + letter + text[place + 1 :], text[:place]):
        with pytest.raises(BadRequestError):
            SEAL.open("contoso", changed)


def test_it_does_not_show_how_much_happened() -> None:
    few, many = SEAL.close("contoso", {}), SEAL.close("contoso", dict.fromkeys(range(6), 2**40))
    assert len(few) == len(many) == 108


def test_it_is_bounded() -> None:
    most = dict.fromkeys(range(MOST_PARTITIONS), 2**48 - 1)
    assert len(SEAL.close("contoso", most)) <= LONGEST
    with pytest.raises(ValueError, match="1001 partitions"):
        SEAL.close("contoso", most | {MOST_PARTITIONS: 1})
    with pytest.raises(BadRequestError):
        SEAL.open("contoso", "A" * (LONGEST + 1))
