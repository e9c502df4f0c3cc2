"""The catalogue as a whole: what it judges, Microsoft's ids and points, and cases that notice every wrong judgement."""

import re
from collections import Counter
from pathlib import Path

import pytest
from plumbline_collector.connectors.servicenow.tables import SCRIPT_ACTIONS, is_wanted_property, names
from plumbline_contracts.events import Outcome, Product, Severity
from plumbline_evaluator import casework, mutation
from plumbline_evaluator.catalogue.loading import Catalogue, load
from plumbline_evaluator.catalogue.model import AnyCheck, AppliesWhen, Control, PropertyCheck, RowCheck

from tests.unit.controls import microsoft

FOLDER = Path(__file__).parents[3] / "controls"
CATALOGUE: Catalogue = load(FOLDER)
CONTROLS = sorted(CATALOGUE.controls.values(), key=lambda control: control.id)
JUDGED = [control for control in CONTROLS if control.check]
OF_MICROSOFT = [control for control in CONTROLS if any(alias.startswith("MDA_") for alias in control.aliases)]
OURS = [control for control in CONTROLS if control not in OF_MICROSOFT]


def _until(family: str, value: str | None = None) -> dict[str, str | None]:
    return {"from": None, "until": family, "value": value, "outcome": None if value else "NOT_APPLICABLE"}


EXPRESSIONS = ("passes", "where", "of", "bands", "partial", "target_percent")
QUICKLY = "item in params.allowed_domains"
KNOWN_FIRST = (
    rf"value.all(item, {QUICKLY} || params.allowed_domains.exists(domain, item.matches('(?i)^\\Q' + domain + '\\E$')))"
)
EQUIVALENT = {
    "SF-AP-11": {"check.checks.Secure connections.absent: 'NOT_APPLICABLE' -> 'PASS'"},
    "SF-DA-16": {"""applies_when.0.expression: "type == 'Data'" -> 'true'"""},
    "SNOW-INP-81": {f"check.pass: {KNOWN_FIRST!r} -> {KNOWN_FIRST.replace(QUICKLY, 'false')!r}"},
    "SNOW-ACL-33": {
        f"check.absent.releases.0: {_until('australia', value='admin')} -> {_until('zurich', value='admin')}"
    },
    "SNOW-ACL-27": {
        f"check.checks.{name}.absent.releases.0: {_until('zurich')} -> {_until('australia')}"
        for name in (
            "com.glide.security.query_acl.enabled.sub_lists",
            "com.glide.security.query_acl.enabled.list_count",
            "glide.security.query_acl.enabled.data_table",
        )
    },
}
"""Changes that judge alike: where both values pass, where a part that does not apply stands beside one that does, or
where one part of an expression saves the other its loops.
"""
WITH_PROPERTY = [
    (control, check) for control in CONTROLS for check in control.leaves().values() if isinstance(check, PropertyCheck)
]


OF_ONE_PROPERTY = [(control, check) for control, check in WITH_PROPERTY if control.check is check]


@pytest.mark.parametrize("control", JUDGED, ids=lambda control: control.id)
def test_every_case_gives_what_it_says(control: Control) -> None:
    assert [f"{failure.case}: {failure.message}" for failure in casework.run_cases(control)] == []


@pytest.mark.parametrize("control", JUDGED, ids=lambda control: control.id)
def test_a_judgement_that_is_wrong_in_one_place_fails_a_case(control: Control) -> None:
    verdicts = mutation.trial(control)
    assert verdicts.killed
    assert set(verdicts.survivors) == EQUIVALENT.get(control.id, set())


@pytest.mark.parametrize("control", JUDGED, ids=lambda control: control.id)
def test_every_control_has_a_case_that_cannot_be_judged_and_says_why(control: Control) -> None:
    unknown = [case for case in control.cases if case.expect.outcome is Outcome.UNKNOWN]
    assert unknown
    assert [case.name for case in unknown if case.expect.reason is None] == []


@pytest.mark.parametrize(
    ("product", "prefix", "theirs", "points"),
    [
        (Product.SALESFORCE, "MDA_SF_", microsoft.SALESFORCE, 127),
        (Product.SERVICENOW, "MDA_SNOW_", microsoft.SERVICENOW, 114),
    ],
)
def test_microsofts_controls_are_all_there_with_category_and_points(
    product: Product, prefix: str, theirs: dict[str, tuple[str, int]], points: float
) -> None:
    mine = [control for control in OF_MICROSOFT if control.product is product]
    assert {
        alias: (control.category, control.points)
        for control in mine
        for alias in control.aliases
        if alias.startswith(prefix)
    } == theirs
    assert len(mine) == len(theirs)
    assert sum(control.points for control in mine) == points


@pytest.mark.parametrize("product", list(Product))
def test_every_product_has_population_controls_beside_microsofts(product: Product) -> None:
    kinds = [control.check.kind for control in OURS if control.product is product and control.check]
    assert sum(kind in ("rows", "count") for kind in kinds) >= 3


def test_default_deny_must_be_deny() -> None:
    control = next(control for control in CONTROLS if "MDA_SNOW_smDefaultMode" in control.aliases)
    failing = [case for case in control.cases if "true fails" in case.name]
    assert [case.expect.outcome for case in failing] == ["FAIL"]


def test_nothing_is_judged_or_named_twice() -> None:
    checks = [
        (control.product, check.model_dump_json(exclude={"expected", "observed"}))
        for control in CONTROLS
        if not isinstance(control.check, AnyCheck)  # where one of several is enough, another control may ask for it
        for check in control.leaves().values()
    ]
    for named in (checks, [c.title.casefold() for c in CONTROLS], [a.casefold() for c in CONTROLS for a in c.aliases]):
        assert [name for name, count in Counter(named).items() if count > 1] == []


@pytest.mark.parametrize("control", OURS, ids=lambda control: control.id)
def test_severity_follows_the_points_where_the_points_are_ours(control: Control) -> None:
    """Microsoft's points do not follow the vendors' classes of risk, which the severity of those controls keeps."""
    scale = [(9, Severity.CRITICAL), (7, Severity.HIGH), (4, Severity.MEDIUM), (1, Severity.LOW)]
    wanted = (severity for least, severity in scale if control.points >= least)
    assert control.severity is next(wanted, Severity.INFORMATIONAL)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_only_what_is_worth_no_points_is_informational(control: Control) -> None:
    assert (control.severity is Severity.INFORMATIONAL) == (control.points == 0)


def _used_params(control: Control) -> set[str]:
    texts = [condition.expression for condition in control.applies_when]
    for check in control.leaves().values():
        texts += [str(getattr(check, name, "")) for name in EXPRESSIONS]
    return {name for name in control.params if any(re.search(rf"params\.{name}\b", text) for text in texts)}


@pytest.mark.parametrize("control", [c for c in CONTROLS if c.params], ids=lambda control: control.id)
def test_every_parameter_is_used_and_bounded(control: Control) -> None:
    assert _used_params(control) == set(control.params)
    for param in (param for param in control.params.values() if param.type == "int"):
        assert isinstance(param.minimum, int)
        assert isinstance(param.maximum, int)
        assert param.minimum < param.maximum
        assert param.problem_with(param.minimum - 1)
        assert param.problem_with(param.maximum + 1)
    assert [name for name, p in control.params.items() if p.type == "string" and not p.choices] == []


@pytest.mark.parametrize("control", [c for c in OF_MICROSOFT if c.params], ids=lambda control: control.id)
def test_a_parameter_only_tightens_microsofts_condition(control: Control) -> None:
    for name, param in control.params.items():
        assert param.default == (param.maximum if name.startswith("max_") else param.minimum), name


def test_the_collector_reads_whatever_servicenow_controls_name() -> None:
    leaves = [check for control in CONTROLS for check in control.leaves().values()]
    gates = [condition for control in CONTROLS for condition in control.applies_when]
    rows: list[RowCheck | AppliesWhen] = [*(leaf for leaf in leaves if isinstance(leaf, RowCheck)), *gates]
    properties = {check.property for _, check in WITH_PROPERTY}
    properties |= {row.match["name"] for row in rows if row.dataset == "system_properties"}
    assert [name for name in sorted(properties) if not is_wanted_property(name)] == []
    assert {row.key for row in rows if row.dataset == "plugins"} - {*names("plugin_ids.txt")} == set()
    assert {row.key for row in rows if row.dataset == "script_actions"} - {*SCRIPT_ACTIONS} == set()


@pytest.mark.parametrize(("control", "check"), OF_ONE_PROPERTY, ids=[control.id for control, _ in OF_ONE_PROPERTY])
def test_every_property_has_cases_for_the_ways_in_which_rows_come(control: Control, check: PropertyCheck) -> None:
    given = [case.given.get("system_properties") for case in control.cases]
    rows = [row for listed in given if isinstance(listed, list) for row in listed if isinstance(row, dict)]
    values = [str(row.get("value")) for row in rows if "value" in row]
    assert [] in given, "absent"
    assert any(isinstance(listed, list) and len(listed) > 1 for listed in given), "two rows of one name"
    assert any("value" not in row for row in rows), "a hidden value"
    assert "" in values, "an empty value"
    if check.type != "list":
        assert any(value != value.strip() for value in values), "blanks around the value"
    if check.type == "bool":
        assert any(value.strip() != value.strip().lower() for value in values), "odd casing"
