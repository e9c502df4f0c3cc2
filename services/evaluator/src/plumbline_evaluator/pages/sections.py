"""The section of one control: everything that its file says but the cases."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from plumbline_contracts.datasets import DatasetSchema, datasets

from plumbline_evaluator.catalogue.frameworks import Framework
from plumbline_evaluator.catalogue.model import Control, Param, RowCheck
from plumbline_evaluator.index import fields_of
from plumbline_evaluator.judging.plan import RANK, RELEASE, CompiledControl, depends_on_release
from plumbline_evaluator.pages.markdown import (
    anchor,
    bullets,
    code,
    code_cell,
    definition,
    link,
    paragraph,
    table,
    text,
)
from plumbline_evaluator.pages.places import anchor_of, way
from plumbline_evaluator.pages.wording import check_in_words, gates_in_words

DATASETS_PAGE = "../datasets.md"
"""As seen from the folder of the pages."""


def points_of(control: Control) -> str:
    """The points as a page shows them."""
    return f"{control.points:g}" if control.points else "0 (report only)"


def kind_of(control: Control) -> str:
    """The kind of its check, or that there is none."""
    return control.check.kind if control.check else "manual"


@dataclass(frozen=True)
class Sections:
    """Writes sections onto one page. From the compiled form of a control follows which fields it reads."""

    page: str
    compiled: Mapping[str, CompiledControl]
    frameworks: Mapping[str, Framework]

    def section(self, control: Control) -> str:
        """A control's section: heading, facts, texts, check, data, steps, links and mappings."""
        return "".join(self._blocks(control))

    def _blocks(self, control: Control) -> Iterator[str]:
        yield f"{anchor(anchor_of(control))}### {control.id}: {text(control.title)}\n\n"
        yield _facts(control)
        if control.manual_reason:
            yield paragraph("Not judged", text(control.manual_reason))
        yield paragraph("Judged" if control.check else "Asked", text(control.description))
        yield paragraph("Why", text(control.rationale))
        if control.check:
            yield f"**Expected.**\n\n{check_in_words(control)}"
        if gates := gates_in_words(control):
            yield f"**Applies.**\n\n{gates}"
        if control.params:
            yield _parameters(control.params)
        yield self._data(control)
        yield from _remediation(control)
        if mappings := [*self._mappings(control)]:
            yield f"**Mappings.**\n\n{bullets(mappings)}\n"

    def definitions(self, controls: Collection[Control]) -> str:
        """Where the links of these controls' sections to datasets and frameworks lead to: for the end of the page."""
        read = {(c.product, dataset) for c in controls for dataset in _read(c, self.compiled)}
        used = {name for control in controls for name in control.frameworks}
        datasets_read = [(code(name), f"{DATASETS_PAGE}#{product}-{name}") for product, name in sorted(read)]
        named = [(text(it.name), f"coverage.md#{name}") for name, it in self.frameworks.items() if name in used]
        return "".join(definition(label, way(self.page, address)) for label, address in (*datasets_read, *named))

    def _data(self, control: Control) -> str:
        schemas = datasets(control.product)
        rows = [self._dataset(schemas[name], fields) for name, fields in _read(control, self.compiled).items()]
        data = f"**Data.**\n\n{table(('dataset', 'fields', 'read from', 'permission'), rows)}" if rows else ""
        also = ", ".join(map(text, control.permissions))
        return data + (paragraph("Also needs", f"{also}.") if also else "")

    def _dataset(self, schema: DatasetSchema, fields: set[str]) -> tuple[str, ...]:
        further = {name: schema.fields[name].permission for name in sorted(fields)}
        more = [f"{code(name)}: {text(permission)}" for name, permission in further.items() if permission]
        return (
            f"[{code(schema.name)}]",
            ", ".join(map(code, sorted(fields))),
            text(schema.source),
            "; ".join([text(schema.permission), *more]),
        )

    def _mappings(self, control: Control) -> Iterator[str]:
        for name, framework in self.frameworks.items():
            titles = {reference.id: reference.title for reference in framework.ids}
            ids = [
                f"{text(i)} ({text(title)})" if (title := titles[i]) else text(i)
                for i in control.frameworks.get(name, [])
            ]
            if ids:
                yield f"[{text(framework.name)}] {', '.join(ids)}"


def _facts(control: Control) -> str:
    facts = {
        "points": points_of(control),
        "severity": str(control.severity),
        "user impact": str(control.user_impact),
        "implementation cost": str(control.implementation_cost),
        "version": str(control.version),
        "alias": ", ".join(map(code, control.aliases)),
        "threats": ", ".join(threat.replace("_", " ") for threat in control.threats),
    }
    stated = {name: value for name, value in facts.items() if value}
    return table(tuple(stated), [tuple(stated.values())])


def _parameters(params: Mapping[str, Param]) -> str:
    head = ("parameter", "type", "default", "bounds", "meaning")
    rows = [
        (code(name), param.type, code_cell(_value(param)), _bounds(param), text(param.description))
        for name, param in params.items()
    ]
    return f"**Parameters.**\n\n{table(head, rows)}"


def _value(param: Param) -> str:
    return param.default if isinstance(param.default, str) else json.dumps(param.default, ensure_ascii=False)


def _bounds(param: Param) -> str:
    if param.choices is not None:
        return ", ".join(map(code_cell, param.choices))
    if param.minimum is not None and param.maximum is not None:
        return f"{param.minimum} to {param.maximum}"
    if param.minimum is not None:
        return f"at least {param.minimum}"
    return "" if param.maximum is None else f"at most {param.maximum}"


def _read(control: Control, compiled: Mapping[str, CompiledControl]) -> dict[str, set[str]]:
    """Dataset to the fields that the control names; none for a control that is not judged."""
    read: dict[str, set[str]] = defaultdict(set)
    if control.id not in compiled:
        return read
    for leaf in compiled[control.id].leaves:
        selected = leaf.check.match.keys() if isinstance(leaf.check, RowCheck) else set()
        read[leaf.dataset.name] |= fields_of(leaf) | selected
        if depends_on_release(leaf):
            read[RELEASE].add(RANK)
    for gate in compiled[control.id].gates:
        read[gate.dataset.name] |= gate.expression.fields | gate.condition.match.keys()
    return read


def _remediation(control: Control) -> Iterator[str]:
    remediation = control.remediation
    yield "**Steps.**\n\n"
    yield "".join(f"{number}. {text(step)}\n" for number, step in enumerate(remediation.steps, start=1)) + "\n"
    if remediation.side_effects:
        yield paragraph("Side effects", text(remediation.side_effects))
    if remediation.verify:
        yield paragraph("Verify", text(remediation.verify))
    if remediation.links:
        yield paragraph("Links", ", ".join(link(text(it.title), it.url) for it in remediation.links))
