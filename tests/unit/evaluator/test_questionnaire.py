"""Asking many questions at once gives what asking each alone gives; where it cannot, each is asked alone."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plumbline_contracts.events import ControlResult, DatasetState, DatasetSummary, ExposedEntities, Outcome, Product
from plumbline_evaluator.catalogue.loading import load
from plumbline_evaluator.catalogue.location import default_folder
from plumbline_evaluator.catalogue.model import Control
from plumbline_evaluator.expressions import ANSWER_BITS, BELONGS, COMPLIES, Language
from plumbline_evaluator.judging.evaluation import Evaluation
from plumbline_evaluator.judging.plan import build_plan

LANGUAGE = Language({"is_frozen": "bool", "is_guest": "bool", "idle_days": "int"}, {"C": {"most": "int"}})
TEXTS = (
    "true", "is_frozen", "!is_frozen && is_guest", "idle_days <= params.most", "idle_days > 3 || is_guest // a remark",
    "is_frozen ? idle_days == 0 : !is_guest", "[is_frozen, is_guest].exists(each, each)",
)  # fmt: skip
ROWS = st.fixed_dictionaries({"is_frozen": st.booleans(), "is_guest": st.booleans(), "idle_days": st.integers(0, 9)})
EXPRESSIONS = st.sampled_from([LANGUAGE.compile(text, "C") for text in TEXTS])
QUESTIONS = st.lists(st.tuples(EXPRESSIONS, st.one_of(st.none(), EXPRESSIONS)), min_size=1, max_size=60)


@settings(max_examples=80, deadline=None)
@given(questions=QUESTIONS, row=ROWS)
def test_all_at_once_answers_as_each_alone(questions: list[Any], row: dict[str, Any]) -> None:
    questionnaire = LANGUAGE.questionnaire(questions)
    assert questionnaire is not None
    activation = LANGUAGE.activation({**row, "params_0_most": 5})
    answers = questionnaire.answers(activation)
    assert answers is not None
    for number, (belongs, complies) in enumerate(questions):
        answer = answers >> ANSWER_BITS * number
        assert bool(answer & BELONGS) is belongs.holds(activation)
        if answer & BELONGS and complies is not None:
            assert bool(answer & COMPLIES) is complies.holds(activation)


def test_an_expression_that_fails_leaves_all_without_an_answer() -> None:
    failing = LANGUAGE.compile("1 / idle_days > 0", "C")
    questionnaire = LANGUAGE.questionnaire([(LANGUAGE.compile("is_frozen", "C"), None), (failing, None)])
    assert questionnaire is not None
    row = {"is_frozen": True, "is_guest": False, "params_0_most": 5}
    assert questionnaire.answers(LANGUAGE.activation({**row, "idle_days": 0})) is None
    assert questionnaire.answers(LANGUAGE.activation({**row, "idle_days": 1})) is not None


def test_expressions_of_the_greatest_depth_are_asked_alone() -> None:
    deep = LANGUAGE.compile(_deepest(LANGUAGE), "C")
    assert LANGUAGE.questionnaire([(deep, deep)]) is None


def _deepest(language: Language) -> str:
    """An expression that the engine takes, and would not take any deeper."""
    text = "is_frozen"
    while True:
        deeper = f"({text})"
        try:
            language.compile(deeper, "C")
        except ValueError:
            return text
        text = deeper


def _control(name: str, where: str, passes: str) -> Control:
    return Control.model_validate(
        {
            "id": name,
            "version": 1,
            "title": name,
            "product": "salesforce",
            "category": "Identity",
            "severity": "high",
            "points": 10,
            "user_impact": "low",
            "implementation_cost": "low",
            "description": "-",
            "rationale": "-",
            "remediation": {"steps": ["-"]},
            "check": {
                "kind": "rows",
                "dataset": "users",
                "population": "users",
                "exposed": "without it",
                "where": where,
                "pass": passes,
                "expected": "-",
            },
        }
    )


PLAIN = _control("PLAIN", "is_standard", "has_mfa_method")
DEEP = _control("DEEP", _deepest(Language({"is_frozen": "bool"}, {})), "!is_guest")
FAILS = _control("FAILS", "1 / idle_days > 0", "1 / age_days > 0")


def _user(number: int, **fields: Any) -> dict[str, Any]:
    usual = {"is_standard": True, "is_frozen": True, "is_guest": False, "has_mfa_method": number % 2 == 0}
    return {"id": str(number), "username": f"u{number}", "idle_days": 1, "age_days": 1, **usual, **fields}


def _judge(controls: list[Control], rows: list[dict[str, Any]]) -> dict[str, tuple[ControlResult, list[str]]]:
    evaluation = Evaluation(build_plan(Product.SALESFORCE, controls), {control.id: "" for control in controls}, {})
    summary = DatasetSummary(name="users", kind="rows", state=DatasetState.OK, source="User", row_count=len(rows))
    items = [*evaluation.take("users", rows), *evaluation.conclude([summary])]
    results = {item.control_id: item for item in items if isinstance(item, ControlResult)}
    exposed: dict[str, list[str]] = {name: [] for name in results}
    for item in items:
        if isinstance(item, ExposedEntities):
            exposed[item.control_id] += [entity.id for entity in item.entities]
    return {name: (results[name], exposed[name]) for name in results}


@pytest.mark.parametrize("companion", [DEEP, FAILS], ids=["too deep to share", "fails on some rows"])
def test_a_control_is_judged_alike_whatever_stands_beside_it(companion: Control) -> None:
    rows = [_user(0), _user(1), _user(2, idle_days=0), _user(3, idle_days=0), _user(4, has_mfa_method=None), _user(5)]
    assert _judge([PLAIN, companion], rows)["PLAIN"] == _judge([PLAIN], rows)["PLAIN"]


def test_what_cannot_be_evaluated_counts_as_not_compliant_and_the_rest_is_judged() -> None:
    rows = [_user(0), _user(1, idle_days=0), _user(2, age_days=0), _user(3, age_days=5)]
    result, exposed = _judge([PLAIN, FAILS], rows)["FAILS"]
    assert (result.outcome, result.compliant, result.total) == (Outcome.PARTIAL, 1, 4)
    assert exposed == ["1", "2", "3"]


@pytest.mark.parametrize("product", Product)
def test_every_population_of_the_catalogue_is_asked_at_once(product: Product) -> None:
    plan = load(default_folder()).plans[product]
    populations = {leaf.dataset.name for each in plan.controls for leaf in each.leaves if leaf.where is not None}
    assert "users" in populations
    assert set(plan.questionnaires) == populations
