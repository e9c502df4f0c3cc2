"""What an administrator reads: steps that can be followed, links to the vendor, mappings to ids that are declared."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from plumbline_contracts.events import Product
from plumbline_evaluator.catalogue.loading import load
from plumbline_evaluator.catalogue.model import Control, PropertyCheck

FOLDER = Path(__file__).parents[3] / "controls"
CONTROLS = sorted(load(FOLDER).controls.values(), key=lambda control: control.id)
OF_SALESFORCE = [control for control in CONTROLS if control.product is Product.SALESFORCE]
WITH_PROPERTY = [control for control in CONTROLS if isinstance(control.check, PropertyCheck)]
HOSTS = {
    Product.SALESFORCE: {"help.salesforce.com", "developer.salesforce.com"},
    Product.SERVICENOW: {"www.servicenow.com"},
}
CANNOT_BE_SET_BACK = {
    "glide.basicauth.required.jsonv2",
    "glide.basicauth.required.scriptedprocessor",
    "glide.basicauth.required.soap",
    "glide.enable.password_policy",
    "glide.script.ccsi.ispublic",
    "glide.script.secure.ajaxgliderecord",
    "glide.script.use.sandbox",
    "glide.sm.default_mode",
    "glide.soap.require_content_type_xml",
}
"""The properties that controls judge and that the vendor calls safe harbor: once changed, they stay."""


def _sentences(control: Control) -> Iterator[str]:
    remediation = control.remediation
    yield from (control.description, control.rationale, *remediation.steps)
    yield from (remediation.side_effects or "", remediation.verify or "")


def _labels(control: Control) -> Iterator[str]:
    yield from (control.title, *(link.title for link in control.remediation.links))
    yield from (param.description for param in control.params.values())
    yield from (case.name for case in control.cases)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_every_sentence_is_there_and_ends(control: Control) -> None:
    assert [text for text in _sentences(control) if not re.search(r"[\w)]\.$", text)] == []
    assert [text for text in _labels(control) if not text or text.endswith(".")] == []
    assert len(control.remediation.steps) >= 2
    assert control.description != control.rationale
    assert not control.title[0].islower()


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_texts_are_clean(control: Control) -> None:
    texts = [*_sentences(control), *_labels(control)]
    slips = r"\s\s|^\s|\s$|\s[,.;:]|,,|\.\.|\b(\w+) \1\b"
    assert [text for text in texts if re.search(slips, text)] == []


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_case_names_are_unique_in_their_control(control: Control) -> None:
    assert len({case.name for case in control.cases}) == len(control.cases)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_links_lead_to_the_vendor_over_https(control: Control) -> None:
    links = [link.url for link in control.remediation.links]
    assert links
    assert len(set(links)) == len(links)
    for url in map(urlsplit, links):
        assert url.scheme == "https"
        assert url.hostname in HOSTS[control.product]


@pytest.mark.parametrize("control", OF_SALESFORCE, ids=lambda control: control.id)
def test_steps_in_salesforce_begin_in_setup(control: Control) -> None:
    assert any("Setup" in step for step in control.remediation.steps)


@pytest.mark.parametrize("control", WITH_PROPERTY, ids=lambda control: control.id)
def test_steps_for_a_property_lead_to_its_row(control: Control) -> None:
    assert isinstance(control.check, PropertyCheck)
    steps, name = " ".join(control.remediation.steps), control.check.property
    assert "security_admin" in steps
    assert "sys_properties.list" in steps
    assert name in steps
    assert name in (control.remediation.verify or "")
    assert ("cannot be set back" in steps) == (name in CANNOT_BE_SET_BACK)


def test_frameworks_declare_what_controls_map_to_and_nothing_else() -> None:
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("frameworks/*.yaml"))]
    declared = {(file["id"], entry["id"]) for file in files for entry in file["ids"]}
    mapped = {(name, entry) for control in CONTROLS for name, ids in control.frameworks.items() for entry in ids}
    assert mapped - declared == set()
    assert declared - mapped == set()


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_every_control_maps_to_frameworks_and_names_threats(control: Control) -> None:
    assert len(control.frameworks) >= 2
    assert all(len(set(ids)) == len(ids) > 0 for ids in control.frameworks.values())
    assert control.threats
    assert len(set(control.threats)) == len(control.threats)
