"""Bodies of answers: made once of a picture, in bounded memory."""

from plumbline_contracts.events import Product
from plumbline_score_api.keys.schemas import Restriction
from plumbline_score_api.pictures.bodies import Bodies

from tests.unit.score_api.painting import control, picture, tenant


def test_an_answer_is_made_once_of_a_picture_and_again_of_the_next() -> None:
    bodies, made = Bodies(), []

    def make() -> bytes:
        made.append(1)
        return b"x"

    first, second = tenant(), tenant()
    assert bodies.once(first, "q", make) is bodies.once(first, "q", make)
    assert len(made) == 1
    bodies.once(first, "another", make)
    bodies.once(second, "q", make)
    assert len(made) == 3


def test_the_tag_names_the_bytes() -> None:
    bodies, shown = Bodies(), tenant()
    tags = {bodies.once(shown, text, text.encode).tag for text in ("a", "b", "c")}
    assert len(tags) == 3
    assert bodies.once(tenant(), "again", lambda: b"a").tag in tags


def test_what_was_asked_for_longest_ago_gives_way() -> None:
    bodies, shown = Bodies(most_bytes=100), tenant()
    for name in range(10):
        bodies.once(shown, name, lambda: b"x" * 30)
        bodies.once(shown, 0, lambda: b"x" * 30)
        assert bodies.size <= 100
    assert len(bodies) == 3
    assert bodies.once(shown, 0, lambda: b"made anew").content == b"x" * 30
    assert bodies.once(shown, 5, lambda: b"made anew").content == b"made anew"


def test_an_answer_larger_than_all_room_is_given_and_soon_forgotten() -> None:
    bodies, shown = Bodies(most_bytes=10), tenant()
    assert len(bodies.once(shown, "large", lambda: b"x" * 50).content) == 50
    bodies.once(shown, "small", lambda: b"x")
    assert bodies.size == 1


def test_a_restricted_caller_has_a_picture_of_his_own() -> None:
    shown = tenant(
        picture([control("C-1")]),
        picture([control("C-1")], instance="support"),
        picture([control("S-1")], instance="itsm", product=Product.SERVICENOW),
    )
    assert shown.within(None) is shown
    mine = shown.within(Restriction(instances=frozenset({"support", "itsm"})))
    assert set(mine.instances) == {"support", "itsm"}
    assert mine.find("sales-eu", "C-1") is None
    assert mine.number != shown.number
    assert set(shown.within(Restriction(products=frozenset({Product.SERVICENOW}))).instances) == {"itsm"}
    both = Restriction(instances=frozenset({"sales-eu"}), products=frozenset({Product.SERVICENOW}))
    assert shown.within(both).instances == {}
    assert shown.within(Restriction(instances=frozenset({"support", "itsm"}))) is mine, "it is painted once"
