"""The catalogue: which definition stands, what matches, what is mapped; how a requirement stands."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_contracts.events import ControlDefinition, Outcome, Product
from plumbline_score_api.controls.catalogue import Catalogue, after, standing
from plumbline_score_api.controls.schemas import ControlFilters
from plumbline_score_api.scores.requirements import RequirementState, state_of

from tests.unit.score_api.painting import definition

SN = Product.SERVICENOW
CATALOGUE = Catalogue(
    standing(
        [
            definition("SF-1", title="Require MFA", aliases=["MDA_SF_1"], frameworks={"cis_v8": ["6.3", "6.5"]}),
            definition("SF-2", category="Apps", severity="low", frameworks={"cis_v8": ["6.3"], "soc2": ["CC6.1"]}),
            definition("SF-3", status="manual", manual_reason="Nobody can read it.", rationale="Phishing happens."),
            definition("SF-4", status="retired", frameworks={"iso": ["A.1"], "cis_v8": ["9"]}),
            definition("SN-1", product=SN, frameworks={"soc2": ["CC7.2"]}),
        ]
    )
)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["SF-1", "SF-2", "SF-3", "SN-1"]), ({"product": ["servicenow"]}, ["SN-1"]),
        ({"category": ["Apps"]}, ["SF-2"]), ({"severity": ["low", "critical"]}, ["SF-2"]),
        ({"status": ["manual", "retired"]}, ["SF-3", "SF-4"]), ({"framework": ["soc2"]}, ["SF-2", "SN-1"]),
        ({"requirement": ["6.3"]}, ["SF-1", "SF-2"]), ({"requirement": ["6.5", "CC7.2"]}, ["SF-1", "SN-1"]),
        ({"framework": ["soc2"], "requirement": ["6.3"]}, ["SF-2"]), ({"text": "mfa REQUIRE"}, ["SF-1"]),
        ({"text": "mda_sf_1"}, ["SF-1"]), ({"text": "phishing"}, ["SF-3"]), ({"text": ".*"}, []),
    ],
)  # fmt: skip
def test_controls_are_chosen(filters: dict[str, Any], expected: list[str]) -> None:
    assert [each.control_id for each in CATALOGUE.select(ControlFilters(**filters))] == expected


def test_a_control_is_found_by_id_or_alias_retired_or_not() -> None:
    assert [found.control_id for name in ("SF-1", "MDA_SF_1", "SF-4") if (found := CATALOGUE.find(name))] == [
        "SF-1", "SF-1", "SF-4",
    ]  # fmt: skip
    assert CATALOGUE.find("SF-9") is None


def test_requirements_are_those_of_controls_that_are_not_retired() -> None:
    assert CATALOGUE.requirements("cis_v8", Product) == {"6.3": ["SF-1", "SF-2"], "6.5": ["SF-1"]}
    assert CATALOGUE.requirements("soc2", [SN]) == {"CC7.2": ["SN-1"]}
    assert CATALOGUE.frameworks([SN]) == {"soc2"}
    assert CATALOGUE.frameworks(Product) == {"cis_v8", "soc2"}


def _version(digest: str, generation: int, status: str = "active") -> ControlDefinition:
    return definition("SF-1", digest=digest, catalogue_generation=generation, status=status)


@given(st.permutations([_version("a", 1), _version("b", 2), _version("a", 2, "retired"), _version("z", 1)]))
def test_the_newest_definition_stands_in_whatever_order_they_come(found: list[ControlDefinition]) -> None:
    assert {name: each.digest for name, each in standing(found).items()} == {"SF-1": "b"}


def test_a_control_that_is_retired_and_comes_back_stands_as_it_is() -> None:
    assert standing([_version("a", 3, "retired"), _version("b", 2)])["SF-1"].status == "retired"
    assert standing([_version("a", 4), _version("b", 3, "retired")])["SF-1"].status == "active"


def test_pages_go_on_behind_a_control_that_is_gone() -> None:
    found = CATALOGUE.select(ControlFilters())
    assert [after(found, name) for name in (None, "SF-1", "SF-15", "SN-1")] == [0, 1, 1, 4]


@given(st.dictionaries(st.sampled_from(Outcome), st.integers(0, 3)))
def test_a_requirement_is_passed_only_if_nothing_fails_or_is_unknown(outcomes: dict[Outcome, int]) -> None:
    state = state_of({outcome.value: number for outcome, number in outcomes.items()})
    there = {outcome for outcome, number in outcomes.items() if number}
    assert (state is RequirementState.FAILED) is bool(there & {Outcome.FAIL, Outcome.PARTIAL})
    assert (state is RequirementState.PASSED) is (there - {Outcome.NOT_APPLICABLE} == {Outcome.PASS})
    assert (state is RequirementState.NOT_COVERED) is (there <= {Outcome.NOT_APPLICABLE})
