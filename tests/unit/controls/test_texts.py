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
    Product.SALESFORCE: {"help.salesforce.com", "developer.salesforce.com", "releasenotes.docs.salesforce.com"},
    Product.SERVICENOW: {"www.servicenow.com"},
}
FORBIDDEN = re.compile(
    r"\b(?:ensur\w+|leverag\w+|utili[sz]\w+|best practices?|recommend\w*|simply|easily|robust\w*|please|seamless\w*"
    r"|obviously|crucial\w*|it is important|etc)\b|!",
    re.IGNORECASE,
)
NO_STEP_BEGINS = {
    "A",
    "An",
    "The",
    "This",
    "It",
    "You",
    "Your",
    "We",
    "There",
    "Each",
    "Please",
    "Should",
    "Must",
    "Can",
}
WHOLE_BASELINES = {"salesforce_health_check", "servicenow_hardening"}
"""Declared whole, because the coverage of each is published."""
CANNOT_BE_SET_BACK = {
    "com.glide.communications.trustmanager_trust_all",
    "com.glide.cs.html.sanitizer.enabled",
    "com.glide.security.check_unsanitized_html",
    "com.glide.snap.enable_scan",
    "com.snc.kmf.signature.validation.flag",
    "glide.basicauth.required.api",
    "glide.basicauth.required.csv",
    "glide.basicauth.required.databrokerrestapiprocessor",
    "glide.basicauth.required.excel",
    "glide.basicauth.required.importprocessor",
    "glide.basicauth.required.jsonv2",
    "glide.basicauth.required.pdf",
    "glide.basicauth.required.rss",
    "glide.basicauth.required.schema",
    "glide.basicauth.required.scriptedprocessor",
    "glide.basicauth.required.soap",
    "glide.basicauth.required.xml",
    "glide.basicauth.required.xmloutputprocessor",
    "glide.basicauth.required.xsd",
    "glide.cookies.http_only",
    "glide.enable.password_policy",
    "glide.enforce_security_scope.sn_hr_core",
    "glide.enforce_security_scope.sn_hr_le",
    "glide.html.escape_script",
    "glide.report.report_view.check_published",
    "glide.sandbox.usersession.allow_unsanitized_messages",
    "glide.script.allow.ajaxevaluate",
    "glide.script.ccsi.ispublic",
    "glide.script.secure.ajaxgliderecord",
    "glide.script.use.sandbox",
    "glide.script_processor.admin",
    "glide.security.manager",
    "glide.security.strict.updates",
    "glide.sm.default_mode",
    "glide.soap.require_content_type_xml",
    "glide.soap.require_ws_security",
    "glide.stax.allow_entity_resolution",
    "glide.sys.domain.include_domain_condition_on_join",
    "glide.sys.permissive.impersonate",
    "glide.ui.escape_html_list_field",
    "glide.ui.escape_text",
    "glide.ui.jelly.js_interpolation.protect",
    "glide.ui.jelly.js_interpolation.protect_nested_expressions",
    "glide.ui.secure_cookies",
    "glide.ui.security.codetag.allow_script",
    "glide.update_set.remote.check_host",
}
"""The properties that the vendor calls safe harbor: once changed, they stay."""


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
    assert [text for text in _sentences(control) if not re.search(r"[\w)][.?]$", text)] == []
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
def test_texts_are_short_and_plain(control: Control) -> None:
    remediation = control.remediation
    assert len(control.title) <= 100
    assert len(control.description) <= 450
    assert len(control.rationale) <= 300
    assert max(map(len, remediation.steps)) <= 250
    own = " ".join([control.title, *_sentences(control)])
    assert FORBIDDEN.findall(own.replace("security recommendations", "")) == []


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_steps_tell_what_to_do(control: Control) -> None:
    """A step begins with a verb, or with where, when or for what to do it."""
    assert [step for step in control.remediation.steps if re.split(r"[ ,:.]", step)[0] in NO_STEP_BEGINS] == []


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
    assert "sys_properties.list" in steps or "All > " in steps
    assert name in f"{steps} {control.remediation.verify}"
    assert name not in CANNOT_BE_SET_BACK or "cannot be set back" in steps


def test_frameworks_declare_what_controls_map_to_and_nothing_else_but_what_coverage_is_told_of() -> None:
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("frameworks/*.yaml"))]
    declared = {(file["id"], entry["id"]) for file in files for entry in file["ids"]}
    mapped = {(name, entry) for control in CONTROLS for name, ids in control.frameworks.items() for entry in ids}
    assert mapped - declared == set()
    assert {(name, entry) for name, entry in declared - mapped if name not in WHOLE_BASELINES} == set()


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_every_control_maps_to_frameworks_and_names_threats(control: Control) -> None:
    assert len(control.frameworks) >= 2
    assert all(len(set(ids)) == len(ids) > 0 for ids in control.frameworks.values())
    assert control.threats
    assert len(set(control.threats)) == len(control.threats)
