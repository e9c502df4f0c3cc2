"""What an event says of a control itself, made once per definition: its texts within their limits. Pure."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from plumbline_contracts.events import ControlDefinition, Severity

from plumbline_score_api.findings.clipping import Clipper, size_of
from plumbline_score_api.findings.state import short_digest

Json = dict[str, Any]
MOST_KNOWN = 4_000
"""Definitions of both products, of a few generations and some catalogues of tenants' own."""
ATTACK = "attack"
STANDARDS = {
    "cis_v8": "CIS Controls v8",
    "csa_sscf": "CSA SSCF 1.0",
    "iso_27001_2022": "ISO/IEC 27001:2022",
    "nist_800_53_r5": "NIST SP 800-53 Rev. 5",
    "salesforce_health_check": "Salesforce Health Check",
    "sbs": "SBS 0.3.0",
    "servicenow_hardening": "ServiceNow Security Hardening",
    "soc2": "SOC 2",
}
"""The catalogue's frameworks as SIEMs filter by them: with their edition, and short, for every requirement repeats it.
Others go by their id."""
_TOLD = {
    "title",
    "category",
    "severity",
    "max_points",
    "aliases",
    "description",
    "rationale",
    "remediation",
    "frameworks",
}
_TITLE, _NAME, _PROSE, _STEPS, _SHORT, _STANDARD, _REFERENCE, _LINK = 200, 80, 600, 1200, 64, 48, 128, 200
_MOST_ALIASES, _MOST_TECHNIQUES, _MOST_STANDARDS, _MOST_REQUIREMENTS, _MOST_LINKS = 8, 5, 8, 20, 5


@dataclass(frozen=True)
class ControlText:
    """The parts of an event that a definition alone decides. Events share them: nobody may change them.

    `digest` changes when anything told changes, the control's revision alone does not. Empty parts are None.
    """

    digest: str
    title: str
    name: str
    severity: Severity
    why: str | None
    passes_when: str | None
    analytic: Json
    tags: list[Json] | None
    attacks: list[Json] | None
    standards: list[str] | None
    requirements: list[str] | None
    remediation: Json
    permissions: str | None
    lost_bytes: int


class _Known:
    """What was made of definitions, by their keys, as long as the very same definition has the key."""

    def __init__(self, make: Callable[[ControlDefinition], ControlText], most: int) -> None:
        self._make, self._most, self._lock = make, most, Lock()
        self._found: dict[str, tuple[ControlDefinition, ControlText]] = {}

    def of(self, definition: ControlDefinition) -> ControlText:
        key = definition.key
        known = self._found.get(key)
        if known is not None and (known[0] is definition or known[0] == definition):
            return known[1]
        made = self._make(definition)
        with self._lock:
            self._found.pop(key, None)
            self._found[key] = (definition, made)
            if len(self._found) > self._most:
                del self._found[next(iter(self._found))]
        return made


def _made(definition: ControlDefinition) -> ControlText:
    clipper = Clipper()
    title = clipper.text(definition.title or definition.control_id, _TITLE)
    name = clipper.text(definition.title or definition.control_id, _NAME)
    mapped = sorted((key, ids) for key, ids in definition.frameworks.items() if key and key != ATTACK and any(ids))
    names = {key: clipper.text(STANDARDS.get(key, key), _STANDARD) for key, _ in mapped}
    requirements = [clipper.text(f"{names[key]}: {each}", _REFERENCE) for key, ids in mapped for each in ids if each]
    return ControlText(
        digest=short_digest(json.dumps(definition.model_dump(include=_TOLD), sort_keys=True)),
        title=title,
        name=name,
        severity=definition.severity,
        why=clipper.text(definition.rationale, _PROSE) or None,
        passes_when=clipper.text(definition.description, _PROSE) or None,
        analytic=_analytic(definition, name),
        tags=_tags(definition.aliases, clipper),
        attacks=_attacks(definition.frameworks.get(ATTACK, ()), clipper),
        standards=list(clipper.items(list(names.values()), _MOST_STANDARDS)) or None,
        requirements=list(clipper.items(requirements, _MOST_REQUIREMENTS)) or None,
        remediation=_remediation(definition, clipper),
        permissions=", ".join(filter(None, definition.permissions)) or None,
        lost_bytes=clipper.lost_bytes,
    )


text_of = _Known(_made, MOST_KNOWN).of
"""The texts of a definition."""


def _analytic(definition: ControlDefinition, name: str) -> Json:
    version = str(definition.catalogue_generation)
    return {"uid": definition.control_id, "name": name, "type_id": 1, "type": "Rule", "version": version}


def _tags(aliases: Sequence[str], clipper: Clipper) -> list[Json] | None:
    values = [clipper.text(alias, _SHORT) for alias in clipper.items(list(filter(None, aliases)), _MOST_ALIASES)]
    return [{"name": "control_alias", "values": values}] if values else None


def _attacks(techniques: Sequence[str], clipper: Clipper) -> list[Json] | None:
    """Techniques of MITRE ATT&CK by id; `T1110.001` is a sub-technique of `T1110`."""
    return [
        _technique(clipper.text(each, _SHORT)) for each in clipper.items(techniques, _MOST_TECHNIQUES) if each
    ] or None


def _technique(uid: str) -> Json:
    technique, _, part = uid.partition(".")
    if not (technique and part):
        return {"technique": {"uid": uid}}
    return {"technique": {"uid": technique}, "sub_technique": {"uid": uid}}


def _remediation(definition: ControlDefinition, clipper: Clipper) -> Json:
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(definition.remediation.steps, 1))
    links = _links((link.url for link in definition.remediation.links), clipper)
    found: Json = {"desc": clipper.text(steps, _STEPS)}
    return {**found, "references": links} if links else found


def _links(urls: Iterable[str], clipper: Clipper) -> list[str]:
    """Links that fit: half a link leads nowhere."""
    known = list(urls)
    fitting = [url for url in known if url and size_of(url) <= _LINK]
    clipper.lost_bytes += sum(map(len, known)) - sum(map(len, fitting))
    return list(clipper.items(fitting, _MOST_LINKS))
