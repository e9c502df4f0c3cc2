"""Which entries of a product's own audit trail belong to a control. Pure.

Nothing is guessed. An entry names the control's setting, or it is about the table that the control was judged by, or
all that is known is that it happened on the instance since the control last passed. How sure that is is told with it.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

from plumbline_contracts.events import AuditEntry, Evidence, Product
from pydantic import BaseModel, Field

MOST_SHOWN = 50
_TABLES = frozenset({Product.SERVICENOW})
"""Products whose audit entries say the table that changed; elsewhere sections are menus, which cannot be told apart."""
_NAMING_TABLES = frozenset({"sys_properties"})
"""Tables of which an entry names the one setting that it is about."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
_EMPTY_WORDS = frozenset({"is", "are", "has", "have", "enable", "enabled"})


class Match(StrEnum):
    """What ties an entry to a control."""

    SETTING = "setting"
    AREA = "area"
    INSTANCE = "instance"


_ORDER = {match: place for place, match in enumerate(Match)}


class SettingChange(BaseModel):
    """Who changed something, when, as the product's own audit trail says it."""

    at: datetime
    actor: str
    action: str
    section: str | None
    subject: str | None
    detail: str | None
    old_value: str | None
    new_value: str | None
    match: Match = Field(
        description="`setting`: it names the very setting; `area`: it is about the table that was judged; `instance`: "
        "it happened on the instance since the control last passed, and nothing more is known"
    )


def belonging(
    entries: Iterable[AuditEntry], evidence: Sequence[Evidence], product: Product, since: datetime | None
) -> list[SettingChange]:
    """The entries that belong to a control, the surest first, then the newest, at most 50.

    `since` is when a control that does not pass now last did; only what came after can be why. Without it only
    entries count that name the setting.
    """
    found: dict[tuple[object, ...], tuple[Match, AuditEntry]] = {}
    for entry in entries:
        match = match_of(entry, evidence, product)
        if match is None or (since is None and match is not Match.SETTING) or (since is not None and entry.at < since):
            continue
        key = (entry.at, entry.actor, entry.subject or entry.detail or entry.action)
        if key not in found or found[key][1].new_value is None:
            found[key] = match, entry
    ordered = sorted(found.values(), key=lambda pair: (_ORDER[pair[0]], -pair[1].at.timestamp()))
    return [SettingChange(**entry.model_dump(), match=match) for match, entry in ordered[:MOST_SHOWN]]


def match_of(entry: AuditEntry, evidence: Sequence[Evidence], product: Product) -> Match | None:
    """What ties an entry to the evidence of a control; None when it is known to be about something else."""
    if any(_names(entry, each, product) for each in evidence):
        return Match.SETTING
    if product not in _TABLES:
        return Match.INSTANCE
    return Match.AREA if any(_is_about(entry, each) for each in evidence) else None


def _names(entry: AuditEntry, evidence: Evidence, product: Product) -> bool:
    """Whether an entry names a setting that was judged."""
    if entry.subject is None:
        return False
    if product in _TABLES:
        is_naming = evidence.source in _NAMING_TABLES and entry.section == evidence.source
        return is_naming and entry.subject in evidence.observed
    return evidence.source.endswith("Settings") and any(_is_same(entry.subject, name) for name in evidence.observed)


def _is_about(entry: AuditEntry, evidence: Evidence) -> bool:
    """Whether an entry is about the table that was judged, and not about another setting of it."""
    if entry.section != evidence.source:
        return False
    return not (evidence.source in _NAMING_TABLES and evidence.observed)


def _is_same(subject: str, field: str) -> bool:
    """Whether a text and a field are one name, however it is written. A name of one word says too little."""
    words = [word.lower() for word in _WORD.findall(subject)]
    is_telling = len([word for word in words if word not in _EMPTY_WORDS]) > 1
    return is_telling and "".join(words) == field.replace("_", "").lower()
