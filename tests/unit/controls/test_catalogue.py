"""The catalogue as a whole: every control's cases, unique ids, Microsoft's points."""

from pathlib import Path

import pytest
from plumbline_contracts.events import Product
from plumbline_evaluator import casework
from plumbline_evaluator.catalogue.loading import Catalogue, load
from plumbline_evaluator.catalogue.model import Control

FOLDER = Path(__file__).parents[3] / "controls"
CATALOGUE: Catalogue = load(FOLDER)
CONTROLS = sorted(CATALOGUE.controls.values(), key=lambda control: control.id)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_every_case_gives_what_it_says(control: Control) -> None:
    assert [f"{failure.case}: {failure.message}" for failure in casework.run_cases(control)] == []


@pytest.mark.parametrize(
    ("product", "prefix", "count", "points"),
    [(Product.SALESFORCE, "MDA_SF_", 29, 127), (Product.SERVICENOW, "MDA_SNOW_", 22, 114)],
)
def test_microsofts_controls_are_all_there_with_their_points(
    product: Product, prefix: str, count: int, points: float
) -> None:
    mine = [control for control in CONTROLS if any(alias.startswith(prefix) for alias in control.aliases)]
    assert {control.product for control in mine} == {product}
    assert len(mine) == count
    assert sum(control.points for control in mine) == points


@pytest.mark.parametrize("product", list(Product))
def test_every_product_has_population_controls_beside_microsofts(product: Product) -> None:
    mine = [c for c in CONTROLS if c.product is product and not c.aliases and c.check]
    assert len([control for control in mine if control.check and control.check.kind in ("rows", "count")]) >= 3


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_every_control_tells_an_administrator_what_to_do(control: Control) -> None:
    assert len(control.remediation.steps) >= 2
    assert control.remediation.verify
    assert control.remediation.links
    assert control.description != control.rationale
    assert control.title[0].isupper() or control.title[0].isdigit()


def test_default_deny_must_be_deny() -> None:
    control = next(control for control in CONTROLS if "MDA_SNOW_smDefaultMode" in control.aliases)
    failing = [case for case in control.cases if "true fails" in case.name]
    assert [case.expect.outcome for case in failing] == ["FAIL"]
