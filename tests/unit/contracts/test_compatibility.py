"""The comparison with the last release finds each way to break a consumer, and says it plainly."""

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
from plumbline_contracts.compatibility import breaking_changes, changes, schema_changes, topic_changes
from plumbline_contracts.finding import FINDING_EVENT
from plumbline_contracts.released import BreakingReleaseError, changes_since_release, release
from plumbline_contracts.schemas import json_schema
from plumbline_contracts.topics import Registry, registry

SCHEMA = json_schema("io.plumbline.control-results.v1")
FINDING = json_schema(FINDING_EVENT)
CONTRACTS = Path(__file__).parents[3] / "contracts"


def _changed(edit: Any, schema: dict[str, Any] = SCHEMA) -> dict[str, Any]:
    changed = copy.deepcopy(schema)
    edit(changed)
    return changed


def _result(schema: dict[str, Any]) -> Any:
    return schema["$defs"]["ControlResult"]["properties"]


@pytest.mark.parametrize("schema", [SCHEMA, FINDING], ids=["ours", "OCSF"])
def test_the_same_schema_is_compatible(schema: dict[str, Any]) -> None:
    found = changes(schema, copy.deepcopy(schema))
    assert (found.breaks, found.additions) == ([], [])


@pytest.mark.parametrize(
    ("edit", "addition"),
    [
        (lambda s: s["properties"].update(extra={"type": "string"}), "extra: new field"),
        (lambda s: s["$defs"]["Outcome"]["enum"].append("WAIVED"), "results[].outcome: new value WAIVED"),
    ],
)
def test_an_addition_is_said_and_breaks_nothing(edit: Any, addition: str) -> None:
    found = changes(SCHEMA, _changed(edit))
    assert found.breaks == []
    assert addition in found.additions


@pytest.mark.parametrize(
    ("edit", "finding"),
    [
        (lambda s: s["properties"].pop("evaluation_id"), "evaluation_id: removed"),
        (lambda s: s["properties"].update(part={"type": "string"}), "part: was integer, is string"),
        (lambda s: s["properties"]["part"].update(type=["integer", "null"]), "part: was integer, is integer/null"),
        (lambda s: s["properties"].update(part={}), "part: was integer, is anything"),
        (lambda s: _result(s)["points"].update(type="integer"), "results[].points: was number, is integer"),
        (lambda s: _result(s).pop("points"), "results[].points: removed"),
        (lambda s: s["$defs"]["Outcome"]["enum"].remove("PARTIAL"), "results[].outcome: PARTIAL is no value any more"),
        (
            lambda s: s["$defs"]["DatasetState"].pop("enum"),
            "datasets[].state: was one of denied, error, not_licensed, ok, truncated, unsupported, may be anything now",
        ),
        (lambda s: s["required"].remove("tenant"), "tenant: was always there, may be absent now"),
        (
            lambda s: s["$defs"]["ControlResult"]["required"].remove("outcome"),
            "results[].outcome: was always there, may be absent now",
        ),
        (lambda s: _result(s)["max_points"].update(maximum=100), "results[].max_points: maximum was 10, is 100"),
        (lambda s: _result(s)["share"].pop("minimum"), "results[].share: minimum was 0, is not promised"),
        (
            lambda s: s["properties"]["tenant"].update(pattern=".*"),
            "tenant: pattern was ^[A-Za-z0-9._-]{1,64}$, is .*",
        ),
        (lambda s: s["properties"]["results"].pop("items"), "results[]: was described, may be anything now"),
    ],
)
def test_a_breaking_change_is_found(edit: Any, finding: str) -> None:
    found = breaking_changes(SCHEMA, _changed(edit))
    assert finding in found
    assert {line.split(": ", 1)[1] for line in found} == {finding.split(": ", 1)[1]}, "one change is told as one thing"


@pytest.mark.parametrize(
    ("edit", "finding"),
    [
        (
            lambda s: s["$defs"]["metadata"]["required"].remove("uid"),
            "metadata.uid: was always there, may be absent now",
        ),
        (lambda s: s["$defs"]["Unmapped"]["properties"].pop("counts"), "unmapped.counts: removed"),
        (
            lambda s: s["$defs"]["Unmapped"]["properties"]["contract"].update(const="plumbline.finding/2"),
            "unmapped.contract: plumbline.finding/1 is no value any more",
        ),
        (lambda s: s["properties"]["time"].update(type="string"), "time: was integer, is string"),
    ],
)
def test_a_break_of_the_event_for_siems_is_found(edit: Any, finding: str) -> None:
    assert breaking_changes(FINDING, _changed(edit, FINDING)) == [finding]


@pytest.mark.parametrize(
    "edit",
    [
        lambda s: _result(s)["max_points"].update(maximum=5),
        lambda s: s["required"].append("part_count"),
        lambda s: s["properties"].update(part_count={"type": "integer", "minimum": 1}),
    ],
)
def test_a_stricter_promise_breaks_nobody(edit: Any) -> None:
    assert breaking_changes(SCHEMA, _changed(edit)) == []


def test_schemas_that_hold_themselves_are_compared_once() -> None:
    tree = {
        "$ref": "#/$defs/Node",
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
    }
    assert breaking_changes(tree, copy.deepcopy(tree)) == []


def test_an_event_that_is_gone_is_a_break_and_a_new_one_is_said() -> None:
    found = schema_changes({"a.v1": SCHEMA}, {"b.v1": SCHEMA})
    assert (found.breaks, found.additions) == (["a.v1: the event is gone"], ["b.v1: new event"])


def _registry(**update: Any) -> Registry:
    """The registry with `compliance-findings` changed."""
    topics = [
        topic.model_copy(update=update) if topic.name == "compliance-findings" else topic for topic in registry().topics
    ]
    return Registry(version=registry().version, topics=topics)


@pytest.mark.parametrize(
    ("update", "finding"),
    [
        ({"name": "findings"}, "compliance-findings: the topic is gone"),
        ({"key": "tenant/instance"}, "compliance-findings: key was tenant|instance|control, is tenant/instance: "),
        ({"event": None}, "compliance-findings: event was plumbline.finding.v1, is None: "),
        ({"cleanup": "compact", "retention_hours": None}, "compliance-findings: cleanup was delete, is compact: "),
        ({"compression": "zstd"}, "compliance-findings: compression was lz4, is zstd: "),
        ({"partitions": 12}, "compliance-findings: partitions was 6, is 12: "),
        ({"retention_hours": 24}, "compliance-findings: retention_hours was 168, is 24: "),
        ({"per_tenant": False}, "compliance-findings: per_tenant was True, is False: "),
        ({"max_record_bytes": 1 << 20}, "compliance-findings: max_record_bytes was 65536, is 1048576: "),
    ],
)
def test_a_break_of_a_topic_is_found_with_its_reason(update: dict[str, Any], finding: str) -> None:
    (line,) = topic_changes(registry(), _registry(**update)).breaks
    assert line.startswith(finding)


@pytest.mark.parametrize(
    "update", [{}, {"retention_hours": 720}, {"purpose": "x"}, {"max_record_bytes": 8_192}, {"replication_factor": 5}]
)
def test_what_an_operator_may_change_of_a_topic_breaks_nobody(update: dict[str, Any]) -> None:
    assert topic_changes(registry(), _registry(**update)).breaks == []


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """A copy of the folder, as far as a release reads and writes it."""
    for name in ("released", "generated/schemas"):
        shutil.copytree(CONTRACTS / name, tmp_path / name)
    shutil.copy(CONTRACTS / "topics.yaml", tmp_path)
    return tmp_path


def _break(contracts: Path) -> None:
    registry_file = contracts / "topics.yaml"
    registry_file.write_text(registry_file.read_text().replace("compression: lz4", "compression: zstd"))


def test_what_is_released_is_what_later_changes_are_compared_with(contracts: Path) -> None:
    release(contracts, "0.9.0")
    found = changes_since_release(contracts)
    assert (found.breaks, found.additions) == ([], [])
    assert (contracts / "released" / "VERSION").read_text() == "0.9.0\n"
    _break(contracts)
    assert [line.split(":")[0] for line in changes_since_release(contracts).breaks] == [
        "compliance-findings",
        "compliance-findings.dlq",
    ]


@pytest.mark.parametrize(("version", "is_breaking_allowed"), [("0.9.0", False), ("1.0.0", True), ("1.0.0", False)])
def test_a_release_that_breaks_consumers_keeps_nothing(
    contracts: Path, version: str, is_breaking_allowed: bool
) -> None:
    before = (contracts / "released" / "topics.yaml").read_text()
    _break(contracts)
    with pytest.raises(BreakingReleaseError, match=r"compression was lz4, is zstd(.|\n)*new major version"):
        release(contracts, version, is_breaking_allowed=is_breaking_allowed)
    assert (contracts / "released" / "topics.yaml").read_text() == before


def test_before_1_0_a_break_may_be_released(contracts: Path) -> None:
    _break(contracts)
    release(contracts, "0.9.0", is_breaking_allowed=True)
    assert changes_since_release(contracts).breaks == []
