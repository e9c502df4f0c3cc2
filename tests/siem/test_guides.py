"""The guides and the files they name: what a tool can parse is parsed, and every name is one of events."""

import configparser
import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from tests.siem import tools
from tests.siem.real_consumers import SECRETS
from tests.siem.sending import finding
from tests.siem.test_sigma import sigma_query

GUIDES = {
    "splunk": "spl",
    "elastic": "esql",
    "sentinel": "kql",
    "google-secops": "yaral",
    "datadog": "datadog",
    "opensearch": "ppl",
}
DETECTIONS = ["A critical finding opened", "An exception expired", "The score dropped"]
RULES = ["critical-finding-opened", "exception-expired", "score-drop-by-count"]
OWN_NAMES = re.compile(r"\b(?:metadata|finding_info|compliance|unmapped)\.[a-z_]+(?:\.[a-z_]+)*")
TIMESTAMP = "@timestamp"
ARRIVAL = "event.ingested"


def _names(value: Any, name: str = "") -> Iterator[str]:
    """Every name of an event, dotted; what a list holds stands below the list's name and `{}`, as in Splunk."""
    if name:
        yield name
    if isinstance(value, dict):
        for part, inner in value.items():
            yield from _names(inner, f"{name}.{part}" if name else part)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner, f"{name}{{}}")


EVENT_NAMES = set(
    _names(finding(tenant="contoso", instance="sales-eu", control="SF-ID-05", sequence=1, time_ms=10**12))
)


@cache
def _guide(name: str) -> str:
    return (tools.GUIDES / f"{name}.md").read_text()


def _blocks(name: str) -> list[tuple[str, str, str]]:
    """The heading, language and text of every code block of a guide."""
    heading, found = "", []
    tokens = MarkdownIt().parse(_guide(name))
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before is not None and before.type == "heading_open":
            heading = token.content
        if token.type == "fence":
            found.append((heading, token.info, token.content))
    return found


def _queries(name: str, language: str) -> list[str]:
    """The queries of a guide, one for each detection, in their order."""
    return [text for heading, info, text in _blocks(name) if info == language and heading in DETECTIONS]


def _shipped(pattern: str) -> list[Path]:
    return sorted(tools.SHIPPED.rglob(pattern))


def _run(command: Iterable[str | Path], *, given: Any = None, environment: dict[str, str] | None = None) -> str:
    text = json.dumps(given) if given is not None else None
    done = subprocess.run(
        list(map(str, command)),
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _errors(*texts: tuple[str, str]) -> list[list[str]]:
    """What the parsers of `languages.py` say of pairs of language and text."""
    told: list[list[str]] = json.loads(
        _run([tools.made(tools.PYTHON), Path(__file__).parent / "languages.py"], given=texts)
    )
    return told


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_has_three_detections_in_its_own_language(name: str) -> None:
    headings = [heading for heading, info, _ in _blocks(name) if info == GUIDES[name]]
    assert headings == DETECTIONS
    for heading in ("## Configure", "## Fields", "## Detections", "## What was checked"):
        assert heading in _guide(name)


@pytest.mark.parametrize("name", GUIDES)
def test_mapped_fields_are_those_of_events(name: str) -> None:
    table = _guide(name).split("## Fields")[1].split("## Detections")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {field for cell in first_cells for field in re.findall(r"`([^`]+)`", cell)}
    assert len(named) >= 6
    assert named <= EVENT_NAMES


@pytest.mark.parametrize("name", ["README", "splunk", "elastic", "sentinel", "datadog", "opensearch"])
def test_names_in_a_guide_are_those_of_events(name: str) -> None:
    """Not that of Google SecOps, whose Unified Data Model has names such as `metadata.event_type` too."""
    named = set(OWN_NAMES.findall(_guide(name)))
    assert len(named) >= 5
    assert named <= EVENT_NAMES


@pytest.mark.parametrize("name", ["README", *GUIDES])
def test_links_of_a_guide_lead_somewhere(name: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", _guide(name)):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = (tools.GUIDES / path).resolve() if path else tools.GUIDES / f"{name}.md"
            assert target.exists(), link
            headings = [line.lstrip("# ").lower().replace(" ", "-") for line in _lines(target) if line.startswith("#")]
            assert not anchor or anchor in headings, link


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def test_every_shipped_file_is_named_by_a_guide() -> None:
    guides = "".join(path.read_text() for path in tools.GUIDES.glob("*.md"))
    files = [path.relative_to(tools.SHIPPED) for path in tools.SHIPPED.rglob("*") if path.is_file()]
    assert [file for file in files if file.as_posix() not in guides and file.name not in guides] == []


@pytest.mark.parametrize("path", _shipped("*.json"), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_json_is_json(path: Path) -> None:
    assert json.loads(path.read_text())


@pytest.mark.parametrize("path", [*_shipped("*.yaml"), *_shipped("*.yml")], ids=lambda path: path.name)
def test_yaml_is_yaml(path: Path) -> None:
    assert list(yaml.safe_load_all(path.read_text()))


def test_searches_of_splunk_ask_what_the_sigma_rules_ask() -> None:
    for rule, query in zip(RULES, _queries("splunk", "spl"), strict=True):
        assert sigma_query(rule, "splunk").split("\n")[0] in query


def test_names_in_the_configuration_of_splunk_are_those_of_events() -> None:
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(tools.SHIPPED / "splunk" / "props.conf")
    source = settings["plumbline:finding"]
    aliased = {value.split(" AS ")[0] for key, value in source.items() if key.startswith("fieldalias")}
    assert aliased
    assert aliased <= EVENT_NAMES
    assert source["TIME_PREFIX"] == '"time":'
    limits = configparser.ConfigParser()
    limits.read(tools.SHIPPED / "splunk" / "limits.conf")
    assert limits.getint("kv", "limit") > len(EVENT_NAMES) > 100
    assert limits.getint("kv", "maxchars") > 8000


def test_queries_of_elastic_parse() -> None:
    queries = _queries("elastic", "esql")
    assert _errors(*(("esql", query) for query in queries)) == [[], [], []]
    assert _errors(("esql", queries[0].replace("KEEP", "KEPT"))) != [[]]


def test_lucene_of_opensearch_parses_and_asks_what_the_sigma_rules_ask() -> None:
    queries = _queries("opensearch", "lucene")
    assert _errors(*(("lucene", query) for query in queries)) == [[], []]
    assert _errors(("lucene", "a:(b")) != [[]]
    assert [query.strip() for query in queries] == [sigma_query(rule, "opensearch_lucene") for rule in RULES[:2]]


@pytest.mark.parametrize("siem", ["elastic", "opensearch"])
def test_the_template_and_the_pipeline_of_an_index_name_fields_of_events(siem: str) -> None:
    template = json.loads((tools.SHIPPED / siem / "index-template.json").read_text())
    mapped = set(_mapped(template["template"]["mappings"]["properties"]))
    assert mapped <= EVENT_NAMES | {TIMESTAMP, "event", ARRIVAL}
    assert {"time", "unmapped.score.points", "unmapped.score.points_max"} <= mapped
    pipeline = json.loads((tools.SHIPPED / siem / "ingest-pipeline.json").read_text())
    steps = [(kind, step) for processor in pipeline["processors"] for kind, step in processor.items()]
    read = {step["field"] if kind == "date" else step.get("copy_from", "time") for kind, step in steps}
    assert read <= EVENT_NAMES
    assert ("date", TIMESTAMP) in {(kind, step.get("target_field")) for kind, step in steps}
    assert (ARRIVAL, "{{{_ingest.timestamp}}}") in {
        (step["field"], step.get("value")) for _, step in steps if "value" in step and isinstance(step["value"], str)
    }


def _mapped(properties: dict[str, Any], name: str = "") -> Iterator[str]:
    for part, mapping in properties.items():
        full = f"{name}.{part}" if name else part
        yield full
        yield from _mapped(mapping.get("properties", {}), full)


def test_the_buckets_of_opensearch_are_over_fields_of_events() -> None:
    (monitor,) = [json.loads(text) for _, info, text in _blocks("opensearch") if info == "json"]
    fields = set(re.findall(r'"field": "([^"]+)"', json.dumps(monitor)))
    assert fields == {
        "metadata.tenant_uid",
        "unmapped.instance.id",
        "unmapped.score.points",
        "unmapped.score.points_max",
    }


def _columns(columns: list[dict[str, str]]) -> dict[str, str]:
    return {column["name"]: column["type"] for column in columns}


def _kql(node_packages: Path, tables: dict[str, dict[str, str]], *queries: str) -> list[dict[str, Any]]:
    """The errors and result columns that Microsoft's parser sees in each query."""
    command: list[str | Path] = [tools.made(tools.NODE), node_packages / "kql.mjs"]
    told: list[dict[str, Any]] = json.loads(_run(command, given={"tables": tables, "queries": queries}))
    return told


def test_queries_of_sentinel_fit_the_table(node_packages: Path) -> None:
    table = _columns(
        json.loads((tools.SHIPPED / "sentinel" / "table.json").read_text())["properties"]["schema"]["columns"]
    )
    queries = _queries("sentinel", "kql")
    tables = {"PlumblineFinding_CL": table}
    opened, expired, dropped = _kql(node_packages, tables, *queries)
    assert [told["errors"] for told in (opened, expired, dropped)] == [[], [], []]
    assert dropped["columns"]["PointsLost"] == "real"
    (broken,) = _kql(node_packages, tables, queries[0].replace("SeverityId", "Severity"))
    assert broken["errors"]


def test_the_rule_of_sentinel_makes_the_rows_of_the_table(node_packages: Path) -> None:
    rule = json.loads((tools.SHIPPED / "sentinel" / "data-collection-rule.json").read_text())["properties"]
    table = json.loads((tools.SHIPPED / "sentinel" / "table.json").read_text())["properties"]["schema"]
    (stream,) = rule["streamDeclarations"].values()
    (flow,) = rule["dataFlows"]
    (told,) = _kql(node_packages, {"source": _columns(stream["columns"])}, flow["transformKql"])
    assert told["errors"] == []
    assert told["columns"] == _columns(table["columns"])
    assert flow["outputStream"] == f"Custom-{table['name']}"
    assert set(_columns(stream["columns"])) <= EVENT_NAMES
    assert set(OWN_NAMES.findall(flow["transformKql"])) <= EVENT_NAMES


@pytest.mark.parametrize("file", ["sentinel/logstash.conf", "google-secops/parser.conf"])
def test_pipelines_in_the_language_of_logstash_parse(file: str) -> None:
    text = (tools.SHIPPED / file).read_text()
    assert _errors(("logstash", text)) == [[]]
    assert _errors(("logstash", text.rstrip().removesuffix("}"))) != [[]]


def test_the_parser_of_secops_reads_fields_of_events() -> None:
    text = (tools.SHIPPED / "google-secops" / "parser.conf").read_text()
    read = set(re.findall(r"%\{([^}]+)\}", text))
    assert len(read) > 8
    assert read <= EVENT_NAMES


def test_the_agent_of_secops_reads_kafka_as_the_collector_that_is_run() -> None:
    receivers = [
        yaml.safe_load((tools.SHIPPED / file).read_text())["receivers"]["kafka"]
        for file in ("google-secops/bindplane.yaml", "otel-collector/splunk.yaml")
    ]
    assert [receiver.pop("group_id") for receiver in receivers] == ["siem.secops", "siem.splunk"]
    assert receivers[0] == receivers[1]


def test_fields_of_datadog_are_those_of_events() -> None:
    asked = {name for text in _queries("datadog", "datadog") for name in re.findall(r"@([a-z_.]+):", text)}
    assert {"activity_id", "severity_id", "compliance.status_id", "unmapped.transition"} <= asked <= EVENT_NAMES
    pipeline = json.loads((tools.SHIPPED / "datadog" / "pipeline.json").read_text())
    (arithmetic,) = [step for step in pipeline["processors"] if step["type"] == "arithmetic-processor"]
    assert set(arithmetic["expression"].split(" - ")) <= EVENT_NAMES


@pytest.mark.parametrize("path", _shipped("rsyslog/*.conf"), ids=lambda path: path.name)
def test_rsyslog_takes_the_shipped_files(path: Path, tmp_path: Path) -> None:
    """As they are, but for the places of files."""
    text = path.read_text()
    for place in ("/var/spool/rsyslog-plumbline", "/etc/plumbline"):
        (tmp_path / place.lstrip("/")).mkdir(parents=True)
        text = text.replace(place, str(tmp_path / place.lstrip("/")))
    for certificate in ("kafka-ca.pem", "index-ca.pem"):
        (tmp_path / "etc" / "plumbline" / certificate).touch()
    here = tmp_path / path.name
    for content, is_good in ((text, True), (text.replace("template=", "tenplate="), False)):
        here.write_text(content)
        command = [tools.rsyslogd(), "-N1", "-f", str(here)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **SECRETS})
        assert (done.returncode == 0) == is_good, done.stderr


def test_the_collector_takes_the_shipped_file(tmp_path: Path) -> None:
    path = tools.SHIPPED / "otel-collector" / "splunk.yaml"
    _run([tools.made(tools.COLLECTOR), "validate", "--config", path], environment=SECRETS)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(path.read_text().replace("initial_offset: earliest", "initial_offset: first"))
    with pytest.raises(AssertionError, match="first"):
        _run([tools.made(tools.COLLECTOR), "validate", "--config", wrong], environment=SECRETS)
